package sesame_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestDjangoAndTheGatewayCheckEachOthersTokens has the gateway and a real Django
// with the real django-sesame check each other's tokens, against the same rows,
// whatever has happened to the user in between.
func TestDjangoAndTheGatewayCheckEachOthersTokens(t *testing.T) {
	db := interopDatabase(t)
	for _, variant := range interopVariants {
		t.Run(variant.name, func(t *testing.T) {
			i := startInterop(t, db, variant)
			for _, event := range interopEvents {
				t.Run(event.name, func(t *testing.T) {
					for _, maker := range []string{"Django", "token"} {
						for _, checker := range []string{"gateway", "Django"} {
							t.Run("from "+maker+" to "+checker, func(t *testing.T) {
								i.check(t, event, maker, checker)
							})
						}
					}
				})
			}
			t.Run("mangled", i.checkMangled)
			t.Run("another scope", i.checkScopes)
			t.Run("passwords", i.checkHashers)
		})
	}
}

// interopEvent is what happens to a user before and after a token is made.
type interopEvent struct {
	name   string
	before func(t *testing.T, i *interop, user string)
	after  func(t *testing.T, i *interop, user, tok string)
	age    time.Duration // of the token when it is checked
	ends   func(s token.Settings) bool
}

var interopEvents = []interopEvent{
	{name: "nothing"},
	{
		name: "a login before it was made",
		before: func(t *testing.T, i *interop, user string) {
			i.django.call(t, "login", "username", user)
		},
	},
	{
		name: "a login at a whole second before it was made",
		before: func(t *testing.T, i *interop, user string) {
			i.django.call(t, "login_at_whole_second", "username", user)
		},
	},
	{
		name: "another token accepted by the gateway before it was made",
		before: func(t *testing.T, i *interop, user string) {
			i.wantGateway(t, i.djangoToken(t, user, 0), user)
		},
	},
	{
		name: "an unusable password",
		before: func(t *testing.T, i *interop, user string) {
			i.django.call(t, "set_password", "username", user, "password", nil)
		},
	},
	{
		name: "no e-mail address",
		before: func(t *testing.T, i *interop, user string) {
			i.django.call(t, "set_fields", "username", user, "fields", map[string]any{"email": ""})
		},
	},
	{
		name: "a password of another app",
		before: func(t *testing.T, i *interop, user string) {
			i.django.call(t, "set_fields", "username", user, "fields", map[string]any{"password": "äö"})
		},
	},
	{
		name: "a new password",
		after: func(t *testing.T, i *interop, user, _ string) {
			i.django.call(t, "set_password", "username", user, "password", "new")
		},
		ends: endsByPassword,
	},
	{
		name: "the same password, hashed again",
		after: func(t *testing.T, i *interop, user, _ string) {
			i.django.call(t, "set_password", "username", user, "password", interopPassword)
		},
		ends: endsByPassword,
	},
	{
		name: "the password made unusable",
		after: func(t *testing.T, i *interop, user, _ string) {
			i.django.call(t, "set_password", "username", user, "password", nil)
		},
		ends: endsByPassword,
	},
	{
		name: "a new e-mail address",
		after: func(t *testing.T, i *interop, user, _ string) {
			i.django.call(t, "set_fields", "username", user, "fields", map[string]any{"email": "new@example.com"})
		},
		ends: func(s token.Settings) bool { return s.InvalidateOnEmailChange },
	},
	{
		name: "a login through Django",
		after: func(t *testing.T, i *interop, user, _ string) {
			i.django.call(t, "login", "username", user)
		},
		ends: endsByUse,
	},
	{
		name: "accepted by Django",
		after: func(t *testing.T, i *interop, user, tok string) {
			i.wantDjango(t, tok, user)
		},
		ends: endsByUse,
	},
	{
		name: "accepted by the gateway",
		after: func(t *testing.T, i *interop, user, tok string) {
			i.wantGateway(t, tok, user)
			if i.settings.OneTime {
				i.wantLastLoginNow(t, user)
			}
		},
		ends: endsByUse,
	},
	{
		name: "deactivated",
		after: func(t *testing.T, i *interop, user, _ string) {
			i.django.call(t, "set_fields", "username", user, "fields", map[string]any{"is_active": false})
		},
		ends: endsAlways,
	},
	{
		name: "deleted",
		after: func(t *testing.T, i *interop, user, _ string) {
			i.django.call(t, "delete", "username", user)
		},
		ends: endsAlways,
	},
	{name: "almost too old", age: interopMaxAge - 30*time.Second},
	{name: "too old", age: interopMaxAge + 2*time.Second, ends: endsByAge},
	{name: "from the future", age: -time.Hour},
}

func endsAlways(token.Settings) bool       { return true }
func endsByUse(s token.Settings) bool      { return s.OneTime }
func endsByAge(s token.Settings) bool      { return s.MaxAge != nil }
func endsByPassword(s token.Settings) bool { return s.InvalidateOnPasswordChange == nil }

// interop is a Django and a gateway with settings that mean the same.
type interop struct {
	interopVariant
	django  *django
	gateway *gateway
	up      *upstream
	tokens  *token.Tokens
	store   *userstore.MySQL
	keys    map[string]string // of the users, as Django prints them
}

// interopPassword is every user's at first.
const interopPassword = "correct horse"

func startInterop(t *testing.T, db *database, variant interopVariant) *interop {
	t.Helper()
	i := &interop{interopVariant: variant, keys: make(map[string]string)}
	i.django = startDjango(t, db, variant.django)

	i.settings.SecretKey = secretKey
	var err error
	if i.tokens, err = token.New(i.settings); err != nil {
		t.Fatal(err)
	}
	i.settings = i.tokens.Settings()
	i.settings.InvalidateOnPasswordChange = variant.settings.InvalidateOnPasswordChange
	cfg := variant.cfg
	cfg.DSN = db.dsn
	cfg.QueryTimeout = caddy.Duration(20 * time.Second) // Python may leave a small machine little time
	needs := userstore.Needs{Email: i.settings.InvalidateOnEmailChange, LastLogin: i.settings.OneTime}
	if variant.settings.Packer != "" {
		needs.Kind = i.settings.Encoding.Kind()
	}
	caddyCtx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if i.store, err = userstore.Open(caddyCtx, cfg, needs, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.store.Close() })

	i.up = startUpstream(t)
	i.gateway = startGateway(t, db, i.up, site{
		options: variant.options,
		store:   variant.store + "\nquery_timeout 20s",
	})
	return i
}

// check lets an event happen to a new user, and has a side check the token
// that another made.
func (i *interop) check(t *testing.T, event interopEvent, maker, checker string) {
	user := i.createUser(t, "default")
	if event.before != nil {
		event.before(t, i, user)
	}
	tok := i.djangoToken(t, user, event.age)
	if maker != "Django" {
		tok = i.ownToken(t, user, i.scope, event.age)
	}
	if event.after != nil {
		event.after(t, i, user, tok)
	}
	want := user
	if event.ends != nil && event.ends(i.settings) {
		want = ""
	}
	if checker == "Django" {
		i.wantDjango(t, tok, want)
	} else {
		i.wantGateway(t, tok, want)
	}
}

// checkMangled compares verdicts on tokens that mail programs and people have
// damaged.
func (i *interop) checkMangled(t *testing.T) {
	user := i.createUser(t, "default")
	valid := i.djangoToken(t, user, 0)
	last := len(valid) - 1
	mangled := map[string]string{
		"empty":             "",
		"cut":               valid[:last],
		"cut in half":       valid[:len(valid)/2],
		"padded":            valid + "=",
		"with a full stop":  valid + ".",
		"with a newline":    valid + "\n",
		"in lower case":     strings.ToLower(valid),
		"twice":             valid + valid,
		"longer":            valid + "A",
		"of spaces":         "    ",
		"with a space":      valid + " ",
		"of another script": "токен",
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for at := range valid {
		changed := alphabet[(strings.IndexByte(alphabet, valid[at])+1)%len(alphabet)]
		mangled[fmt.Sprintf("at %d", at)] = valid[:at] + string(changed) + valid[at+1:]
	}
	// The last character has bits that base64 ignores, and so has each side.
	for _, c := range alphabet {
		mangled["with "+string(c)+" as the last"] = valid[:last] + string(c)
	}
	for name, tok := range mangled {
		t.Run(name, func(t *testing.T) {
			if tok == valid {
				return
			}
			// Using the token would change the other side's verdict.
			i.django.call(t, "set_fields", "username", user, "fields", map[string]any{"last_login": nil})
			var want string
			if accepted := i.django.call(t, "get_user", "token", tok, "scope", i.scope)["user"]; accepted != nil {
				want = accepted.(string)
				i.django.call(t, "set_fields", "username", user, "fields", map[string]any{"last_login": nil})
			}
			i.wantGateway(t, tok, want)
		})
	}
}

// checkScopes has both sides refuse tokens of other scopes.
func (i *interop) checkScopes(t *testing.T) {
	if i.settings.Versions[0] == token.V1 {
		t.Skip("v1 tokens have no scope")
	}
	user := i.createUser(t, "default")
	for _, scope := range []string{"", "report:8", i.scope + " "} {
		if scope == i.scope {
			continue
		}
		i.wantGateway(t, i.django.call(t, "token", "username", user, "scope", scope)["token"].(string), "")
		i.wantDjango(t, i.ownToken(t, user, scope, 0), "")
	}
}

// checkHashers has users with passwords of every kind that Django knows.
func (i *interop) checkHashers(t *testing.T) {
	if i.settings.MaxAge != nil || i.settings.Encoding != token.LongPacker {
		t.Skip("it makes no difference to passwords, which take their time")
	}
	for _, hasher := range i.django.call(t, "hashers")["hashers"].([]any) {
		t.Run(hasher.(string), func(t *testing.T) {
			user := i.createUser(t, hasher.(string))
			i.wantGateway(t, i.djangoToken(t, user, 0), user)
			i.wantDjango(t, i.ownToken(t, user, i.scope, 0), user)
		})
	}
}

// TestInteropKeyRotation has a Django whose SECRET_KEY was another once.
func TestInteropKeyRotation(t *testing.T) {
	db := interopDatabase(t)
	i := startInterop(t, db, interopVariant{
		django:   map[string]any{"SECRET_KEY_FALLBACKS": []string{"former", "oldest ü"}},
		options:  `secret_key_fallbacks former "oldest ü"`,
		settings: token.Settings{Encoding: token.LongPacker, SecretKeyFallbacks: []string{"former", "oldest ü"}},
	})
	user := i.createUser(t, "default")
	for secret, want := range map[string]string{secretKey: user, "former": user, "oldest ü": user, "forgotten": ""} {
		t.Run(secret, func(t *testing.T) {
			i.wantGateway(t, i.django.call(t, "token", "username", user, "secret_key", secret)["token"].(string), want)

			settings := i.settings
			settings.SecretKey = secret
			var err error
			former := *i
			if former.tokens, err = token.New(settings); err != nil {
				t.Fatal(err)
			}
			i.wantDjango(t, former.ownToken(t, user, "", 0), want)
		})
	}
}

// createUser makes a user that no other test has, and returns their name.
func (i *interop) createUser(t *testing.T, hasher string) string {
	t.Helper()
	user := fmt.Sprintf("user-%d-%d", os.Getpid(), interopUsers)
	interopUsers++
	made := i.django.call(t, "create", "username", user, "email", user+"@example.com", "password", interopPassword, "hasher", hasher)
	i.keys[user] = made["key"].(string)
	return user
}

// interopUsers counts the users of all variants, which share tables.
var interopUsers int

func (i *interop) djangoToken(t *testing.T, user string, age time.Duration) string {
	t.Helper()
	return i.django.call(t, "token", "username", user, "scope", i.scope, "age", age.Seconds())["token"].(string)
}

// ownToken makes a token by package token, from the row as the store reads it.
func (i *interop) ownToken(t *testing.T, user, scope string, age time.Duration) string {
	t.Helper()
	pk := primaryKeyOf(t, i.settings.Encoding.Kind(), i.keys[user])
	row, err := i.store.Lookup(t.Context(), pk)
	if err != nil {
		t.Fatal(err)
	}
	made, err := i.tokens.Create(pk, row.User, scope, time.Now().Add(-age))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// primaryKeyOf reads a key that Python printed.
func primaryKeyOf(t *testing.T, kind token.Kind, printed string) token.PrimaryKey {
	t.Helper()
	var pk token.PrimaryKey
	var err error
	switch kind {
	case token.KindInt:
		var n int64
		n, err = strconv.ParseInt(printed, 10, 64)
		pk = token.IntKey(n)
	case token.KindUint:
		var n uint64
		n, err = strconv.ParseUint(printed, 10, 64)
		pk = token.UintKey(n)
	case token.KindUUID:
		var id [16]byte
		_, err = hex.Decode(id[:], []byte(strings.ReplaceAll(printed, "-", "")))
		pk = token.UUIDKey(id)
	case token.KindString:
		pk = token.StringKey(printed)
	default:
		t.Fatalf("no user model has keys of kind %v", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pk
}

// wantGateway fails the test unless the gateway accepts the token as the user's, or
// rejects it if the user is empty.
func (i *interop) wantGateway(t *testing.T, tok, user string) {
	t.Helper()
	name := "sesame"
	if changed, ok := i.interopVariant.django["SESAME_TOKEN_NAME"]; ok {
		name = changed.(string)
	}
	answer := i.gateway.get(t, "/?"+name+"="+url.QueryEscape(tok))
	if user == "" {
		if answer.status != http.StatusUnauthorized {
			t.Errorf("the gateway answers %d to %s, want 401", answer.status, legible(tok))
		}
		i.up.takeNone(t)
		return
	}
	if answer.status != http.StatusOK {
		t.Errorf("the gateway answers %d to %s, want 200", answer.status, legible(tok))
		return
	}
	got := i.up.takeOne(t)
	wantHeader(t, got.header, "Remote-User", user)
	wantHeader(t, got.header, "Remote-User-Id", i.keys[user])
}

// wantDjango does the same for Django.
func (i *interop) wantDjango(t *testing.T, tok, user string) {
	t.Helper()
	got := i.django.call(t, "get_user", "token", tok, "scope", i.scope)["user"]
	if got == nil {
		got = ""
	}
	if got != user {
		t.Errorf("Django takes %s for %q's, want %q", legible(tok), got, user)
	}
}

// legible adds to a token what its bytes are.
func legible(tok string) string {
	data, err := base64.RawURLEncoding.DecodeString(tok)
	if err != nil {
		return strconv.Quote(tok)
	}
	return fmt.Sprintf("%s (%x)", tok, data)
}

// wantLastLoginNow fails the test unless Django reads what the gateway wrote
// into last_login as the present time: not in another time zone.
func (i *interop) wantLastLoginNow(t *testing.T, user string) {
	t.Helper()
	seconds := i.django.call(t, "since_last_login", "username", user)["seconds"].(float64)
	if seconds < -5 || seconds > 60 {
		t.Errorf("Django reads the last login as %v s ago, want now", seconds)
	}
}

// interopDatabase is a database with Django's own tables.
func interopDatabase(t *testing.T) *database {
	t.Helper()
	if os.Getenv("SESAME_SRC") == "" {
		t.Skip("SESAME_SRC doesn't name a checkout of django-sesame: not testing against it, only against vectors made by it")
	}
	if mariadb == nil {
		t.Skip("mariadbd is not on PATH, and Django needs it")
	}
	const name = "interop"
	db := &database{name: name, dsn: testpeer.NewDatabase(t, mariadb, name)}
	startDjango(t, db, nil).call(t, "migrate")
	return db
}
