package sesame_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// interopVariant is a way to configure Django, and the same for the gateway and
// for token.
type interopVariant struct {
	name     string
	django   map[string]any
	options  string
	store    string
	cfg      userstore.Config // what store says
	settings token.Settings
	scope    string
}

const interopMaxAge = 10 * time.Minute

var interopVariants = []interopVariant{
	{name: "defaults", settings: token.Settings{Encoding: token.LongPacker}},
	{
		name:     "max age",
		django:   map[string]any{"SESAME_MAX_AGE": 600},
		options:  "max_age 10m",
		settings: token.Settings{Encoding: token.LongPacker, MaxAge: new(interopMaxAge)},
	},
	{
		name:     "max age in fractions",
		django:   map[string]any{"SESAME_MAX_AGE": 600.5},
		options:  "max_age 600.5",
		settings: token.Settings{Encoding: token.LongPacker, MaxAge: new(interopMaxAge + time.Second/2)},
	},
	{
		name:     "one time",
		django:   map[string]any{"SESAME_ONE_TIME": true},
		options:  "one_time",
		settings: token.Settings{Encoding: token.LongPacker, OneTime: true},
	},
	{
		name:     "one time, with a max age",
		django:   map[string]any{"SESAME_ONE_TIME": true, "SESAME_MAX_AGE": 600},
		options:  "one_time\nmax_age 600",
		settings: token.Settings{Encoding: token.LongPacker, OneTime: true, MaxAge: new(interopMaxAge)},
	},
	{
		name:     "one time, naive local times",
		django:   map[string]any{"SESAME_ONE_TIME": true, "USE_TZ": false, "TIME_ZONE": "America/Chicago"},
		options:  "one_time\nuse_tz off\ntime_zone America/Chicago",
		settings: token.Settings{Encoding: token.LongPacker, OneTime: true, UseTZ: new(false)},
	},
	{
		name:     "one time, aware times with a local zone",
		django:   map[string]any{"SESAME_ONE_TIME": true, "TIME_ZONE": "Asia/Kathmandu"},
		options:  "one_time",
		settings: token.Settings{Encoding: token.LongPacker, OneTime: true},
	},
	{
		name:     "ended by a new e-mail address",
		django:   map[string]any{"SESAME_INVALIDATE_ON_EMAIL_CHANGE": true},
		options:  "invalidate_on_email_change",
		settings: token.Settings{Encoding: token.LongPacker, InvalidateOnEmailChange: true},
	},
	{
		name:     "not ended by a new password",
		django:   map[string]any{"SESAME_INVALIDATE_ON_PASSWORD_CHANGE": false, "SESAME_MAX_AGE": 600},
		options:  "invalidate_on_password_change off\nmax_age 10m",
		settings: token.Settings{Encoding: token.LongPacker, InvalidateOnPasswordChange: new(false), MaxAge: new(interopMaxAge)},
	},
	{
		name:     "all that ends tokens",
		django:   map[string]any{"SESAME_INVALIDATE_ON_EMAIL_CHANGE": true, "SESAME_MAX_AGE": 600, "SESAME_ONE_TIME": true},
		options:  "invalidate_on_email_change\nmax_age 10m\none_time",
		settings: token.Settings{Encoding: token.LongPacker, InvalidateOnEmailChange: true, OneTime: true, MaxAge: new(interopMaxAge)},
	},
	{
		name:     "with a scope",
		options:  `scope "report:7 ü"`,
		settings: token.Settings{Encoding: token.LongPacker},
		scope:    "report:7 ü",
	},
	{
		name:     "with a key, a long signature and another name",
		django:   map[string]any{"SESAME_KEY": "k|ü", "SESAME_SIGNATURE_SIZE": 32, "SESAME_TOKEN_NAME": "url_auth_token"},
		options:  "key k|ü\nsignature_size 32\ntoken_name url_auth_token",
		settings: token.Settings{Encoding: token.LongPacker, Key: "k|ü", SignatureSize: 32},
	},
	{
		name:     "v1",
		django:   map[string]any{"SESAME_TOKENS": []string{"sesame.tokens_v1"}},
		options:  "tokens v1",
		settings: token.Settings{Encoding: token.LongPacker, Versions: []token.Version{token.V1}},
	},
	{
		name:     "v1, accepted next to v2",
		django:   map[string]any{"SESAME_TOKENS": []string{"sesame.tokens_v1", "sesame.tokens_v2"}, "SESAME_MAX_AGE": 600},
		options:  "tokens v2 v1\nmax_age 600",
		settings: token.Settings{Encoding: token.LongPacker, Versions: []token.Version{token.V1, token.V2}, MaxAge: new(interopMaxAge)},
	},
	{
		name: "v1 with all that ends tokens",
		django: map[string]any{
			"SESAME_TOKENS": []string{"sesame.tokens_v1"}, "SESAME_MAX_AGE": 600, "SESAME_ONE_TIME": true,
			"SESAME_INVALIDATE_ON_EMAIL_CHANGE": true, "SESAME_SALT": "pepper", "SESAME_ITERATIONS": 10,
		},
		options: "tokens v1\nmax_age 600\none_time\ninvalidate_on_email_change\nsalt pepper\niterations 10",
		settings: token.Settings{
			Encoding: token.LongPacker, Versions: []token.Version{token.V1}, MaxAge: new(interopMaxAge), OneTime: true,
			InvalidateOnEmailChange: true, Salt: "pepper", Iterations: 10,
		},
	},
	{
		name:    "v1, one time, naive local times",
		django:  map[string]any{"SESAME_TOKENS": []string{"sesame.tokens_v1"}, "SESAME_ONE_TIME": true, "SESAME_ITERATIONS": 10, "USE_TZ": false, "TIME_ZONE": "America/Chicago"},
		options: "tokens v1\none_time\niterations 10\nuse_tz off\ntime_zone America/Chicago",
		settings: token.Settings{
			Encoding: token.LongPacker, Versions: []token.Version{token.V1}, OneTime: true, Iterations: 10, UseTZ: new(false),
		},
	},
	{
		name:     "a packer of django-sesame's, named",
		django:   map[string]any{"SESAME_PACKER": "sesame.packers.UnsignedShortPacker"},
		options:  "packer sesame.packers.UnsignedShortPacker",
		settings: token.Settings{Packer: "sesame.packers.UnsignedShortPacker"},
	},
	{
		name:     "a packer of the project's own",
		django:   map[string]any{"AUTH_USER_MODEL": "people.HexPerson", "SESAME_PACKER": "people.packers.ObjectIdPacker"},
		options:  "packer people.packers.ObjectIdPacker\npacker_encoding hex:24",
		store:    "table people_hexperson",
		cfg:      userstore.Config{Table: "people_hexperson"},
		settings: token.Settings{Packer: "people.packers.ObjectIdPacker", Encoding: hexPacker(24)},
	},
	{
		name:     "SmallAutoField",
		django:   map[string]any{"AUTH_USER_MODEL": "people.SmallPerson"},
		store:    "table people_smallperson",
		cfg:      userstore.Config{Table: "people_smallperson"},
		settings: token.Settings{Encoding: token.ShortPacker},
	},
	{
		name:     "BigAutoField",
		django:   map[string]any{"AUTH_USER_MODEL": "people.BigPerson"},
		store:    "table people_bigperson",
		cfg:      userstore.Config{Table: "people_bigperson"},
		settings: token.Settings{Encoding: token.LongLongPacker},
	},
	{
		name:     "PositiveBigIntegerField",
		django:   map[string]any{"AUTH_USER_MODEL": "people.PositiveBigPerson"},
		store:    "table people_positivebigperson",
		cfg:      userstore.Config{Table: "people_positivebigperson"},
		settings: token.Settings{Encoding: token.UnsignedLongLongPacker},
	},
	{
		name:     "UUIDField",
		django:   map[string]any{"AUTH_USER_MODEL": "people.UUIDPerson", "SESAME_ONE_TIME": true},
		options:  "one_time",
		store:    "table people_uuidperson",
		cfg:      userstore.Config{Table: "people_uuidperson"},
		settings: token.Settings{Encoding: token.UUIDPacker, OneTime: true},
	},
	{
		name:    "CharField, and columns of other names",
		django:  map[string]any{"AUTH_USER_MODEL": "people.NamedPerson", "SESAME_ONE_TIME": true, "SESAME_INVALIDATE_ON_EMAIL_CHANGE": true},
		options: "one_time\ninvalidate_on_email_change",
		store:   "table crew\npassword hash\nlast_login seen\nusername login\nemail mail\nis_active enabled",
		cfg: userstore.Config{Table: "crew", Columns: userstore.Columns{
			Password: "hash", LastLogin: "seen", Username: "login", Email: "mail", IsActive: "enabled",
		}},
		settings: token.Settings{Encoding: token.StrPacker, OneTime: true, InvalidateOnEmailChange: true},
	},
	{
		name:     "a field that isn't the primary key",
		django:   map[string]any{"AUTH_USER_MODEL": "people.NumberedPerson", "SESAME_PRIMARY_KEY_FIELD": "number", "SESAME_ONE_TIME": true},
		options:  "primary_key_field number\none_time",
		store:    "table people_numberedperson",
		cfg:      userstore.Config{Table: "people_numberedperson", PrimaryKeyField: "number"},
		settings: token.Settings{Encoding: token.UnsignedLongPacker, PrimaryKeyField: "number", OneTime: true},
	},
	{
		name:     "a text field that isn't the primary key",
		django:   map[string]any{"SESAME_PRIMARY_KEY_FIELD": "username"},
		options:  "primary_key_field username",
		cfg:      userstore.Config{PrimaryKeyField: "username"},
		settings: token.Settings{Encoding: token.StrPacker, PrimaryKeyField: "username"},
	},
}

func hexPacker(digits int) token.Packer {
	packer, err := token.HexPacker(digits)
	if err != nil {
		panic(err)
	}
	return packer
}

// TestDjangoAndTheGatewayCheckEachOthersTokens has the gateway and a real Django with the real django-sesame
// check each other's tokens, against the same rows, whatever has happened to
// the user in between.
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
// been at.
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
			// A use would make the other side's verdict another.
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

// wantGateway fails the test unless the gateway takes the token for the user's,
// or for nobody's where the user is empty.
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
	if err := mariadb.CreateDatabase(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mariadb.Exec("", "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	})
	db := &database{name: name, dsn: mariadb.DSN(name)}
	startDjango(t, db, nil).call(t, "migrate")
	return db
}

// django is a Python process with Django, django-sesame and settings. See
// testdata/interop/django_side.py.
type django struct {
	in     io.Writer
	out    *bufio.Reader
	stderr *bytes.Buffer
}

func startDjango(t *testing.T, db *database, settings map[string]any) *django {
	t.Helper()
	given := map[string]any{
		"SECRET_KEY":       secretKey,
		"DATABASES":        map[string]any{"default": djangoDatabase(t, db.dsn)},
		"USE_TZ":           true,
		"PASSWORD_HASHERS": djangoHashers,
	}
	for name, value := range settings {
		given[name] = value
	}

	cmd := exec.Command(testprogram.Python(t, "django", "pymysql"), "testdata/interop/django_side.py")
	cmd.Env = testprogram.SesameEnv(os.Getenv("SESAME_SRC"))
	dialog := testprogram.StartDialog(t, cmd)
	d := &django{in: dialog.In, out: bufio.NewReader(dialog.Out), stderr: dialog.Errors}
	if err := json.NewEncoder(d.in).Encode(given); err != nil {
		t.Fatal(err)
	}
	return d
}

// djangoHashers has a quick one first, so that the default costs little.
var djangoHashers = []string{
	"people.hashers.QuickHasher",
	"django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
	"django.contrib.auth.hashers.Argon2PasswordHasher",
	"django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
	"django.contrib.auth.hashers.BCryptPasswordHasher",
	"django.contrib.auth.hashers.SHA1PasswordHasher",
	"django.contrib.auth.hashers.MD5PasswordHasher",
	"django.contrib.auth.hashers.UnsaltedMD5PasswordHasher",
	"django.contrib.auth.hashers.UnsaltedSHA1PasswordHasher",
	"django.contrib.auth.hashers.CryptPasswordHasher",
}

// djangoDatabase says of a DSN what Django's DATABASES does.
func djangoDatabase(t *testing.T, dsn string) map[string]any {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(cfg.Addr, ":")
	return map[string]any{
		"ENGINE": "django.db.backends.mysql", "NAME": cfg.DBName,
		"USER": cfg.User, "PASSWORD": cfg.Passwd, "HOST": host, "PORT": port,
	}
}

// call has Django run a command with arguments in pairs.
func (d *django) call(t *testing.T, command string, arguments ...any) map[string]any {
	t.Helper()
	line := map[string]any{"do": command}
	for i := 0; i < len(arguments); i += 2 {
		line[arguments[i].(string)] = arguments[i+1]
	}
	if err := json.NewEncoder(d.in).Encode(line); err != nil {
		t.Fatalf("asking Django to %s: %v\n%s", command, err, d.stderr)
	}
	answer, err := d.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("asking Django to %s: %v\n%s", command, err, d.stderr)
	}
	var result map[string]any
	if err := json.Unmarshal(answer, &result); err != nil {
		t.Fatalf("asking Django to %s: %v: %s", command, err, answer)
	}
	if problem, ok := result["error"]; ok {
		t.Fatalf("asking Django to %s: %s", command, problem)
	}
	return result
}
