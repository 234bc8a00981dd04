package authn

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/hashing"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// table is a table of users in memory, with the other parts that a Password needs.
type table struct {
	scheme *Password
	users  []*userstore.User
	finds  []string // how users were looked up
	hashes int      // in the place of a metric: how many passwords were hashed
	logs   *observer.ObservedLogs
	denies error // UpgradePassword's error
}

// cheap are hashers that take no time.
var cheap = []string{"md5", "pbkdf2_sha256", "sha1"}

func newTable(t *testing.T, cfg PasswordConfig) *table {
	t.Helper()
	cfg.Basic = true
	if len(cfg.Hashers) == 0 {
		cfg.Hashers = cheap
	}
	core, logs := observer.New(zap.DebugLevel)
	env := &Environment{Now: time.Now, Logger: zap.New(core), Users: t.Name() + strings.Join(cfg.Identifier, ",")}
	made, err := cfg.New(env)
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*Password)
	tbl := &table{scheme: s, logs: logs}
	s.upgrade = func() upgrader { return tbl }
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return tbl
}

// hash is a hash of a password, by Django's rules.
func hash(t *testing.T, algorithm, text string) string {
	t.Helper()
	hashers, err := password.New(password.Settings{Hashers: []password.Algorithm{password.Algorithm(algorithm)}, Parameters: password.Parameters{PBKDF2Iterations: 2}})
	if err != nil {
		t.Fatal(err)
	}
	made, err := hashers.Make(text)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (tbl *table) add(id int64, name, email, encoded string) *userstore.User {
	u := &userstore.User{PrimaryKey: token.IntKey(id), Username: name, IsActive: true}
	u.Email, u.Password = &email, &encoded
	tbl.users = append(tbl.users, u)
	return u
}

// set replaces the row of a user.
func (tbl *table) set(u *userstore.User, change func(*userstore.User)) *userstore.User {
	changed := *u
	change(&changed)
	tbl.users[slices.Index(tbl.users, u)] = &changed
	return &changed
}

func (tbl *table) UpgradePassword(_ context.Context, u *userstore.User, encoded string) error {
	if tbl.denies == nil {
		tbl.set(u, func(u *userstore.User) { u.Password = &encoded })
	}
	return tbl.denies
}

// find is an Authenticator's, as the userstore finds users.
func (tbl *table) find(_ *http.Request, c Credential, key userstore.Key, check func(*userstore.User) error) (*userstore.User, error) {
	if !c.Traits().NeedsFresh {
		return nil, errors.New("the row may be old")
	}
	var found []*userstore.User
	if pk, ok := key.PrimaryKey(); ok {
		tbl.finds = append(tbl.finds, "key")
		for _, u := range tbl.users {
			if u.PrimaryKey == pk {
				found = append(found, u)
			}
		}
	} else {
		tbl.finds = append(tbl.finds, "name")
		via, value := key.Via()
		for _, field := range via.Fields {
			if len(found) > 0 {
				break
			}
			for _, u := range tbl.users {
				if strings.EqualFold(valueOf(u, field), value) {
					found = append(found, u)
				}
			}
		}
	}
	if len(found) != 1 {
		return nil, check(nil)
	}
	return found[0], check(found[0])
}

// send sends credentials of Basic from a client, and returns the accepted user, or
// the reason of the rejection.
func (tbl *table) send(t *testing.T, address, userpass string) (whose string, err error) {
	t.Helper()
	r := basicRequest(address, userpass)
	before := hashing.Hashed()
	defer func() { tbl.hashes += int(hashing.Hashed() - before) }()
	a := &Authenticator{Find: tbl.find, Rejected: func(_ *http.Request, _ Credential, err error) error { return err }}
	taken := tbl.scheme.Take(r)
	if len(r.Header["Authorization"]) != 0 {
		t.Errorf("%q is left", r.Header["Authorization"])
	}
	v, err := a.Explicit(r, taken, At{Now: time.Now()}, func(*userstore.User) error { return nil })
	if err != nil {
		return "", err
	}
	return v.User.PrimaryKey.String(), nil
}

func basicRequest(address, userpass string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(userpass)))
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, address)
	return r
}

// want sends credentials, and compares the accepted user or the reason.
func (tbl *table) want(t *testing.T, userpass, want string) {
	t.Helper()
	got, err := tbl.send(t, "192.0.2.1", userpass)
	if err != nil {
		got = ReasonOf(err)
		if !IsRejection(err) {
			got = err.Error()
		}
	}
	if got != want {
		t.Errorf("%s: %s, want %s", userpass, got, want)
	}
}

// wantHashes compares how many passwords were hashed since the last call.
func (tbl *table) wantHashes(t *testing.T, want int) {
	t.Helper()
	if tbl.hashes != want {
		t.Errorf("%d passwords were hashed, want %d", tbl.hashes, want)
	}
	tbl.hashes = 0
}

func TestPasswordOfEachKindOfUser(t *testing.T) {
	alices, other := hash(t, "md5", "secret"), hash(t, "scrypt", "secret")
	for _, test := range []struct {
		name       string
		identifier []string
		userpass   string
		want       string
	}{
		{"the right password", nil, "alice:secret", "1"},
		{"a wrong password", nil, "alice:secret2", "wrong_password"},
		{"no password", nil, "alice:", "wrong_password"},
		{"the name in other letters", nil, "ALICE:secret", "1"},
		{"the hash for the password", nil, "alice:" + "HASH", "wrong_password"},
		{"a user who doesn't exist", nil, "nobody:secret", "unknown_user"},
		{"an e-mail address that isn't asked for", nil, "alice@example.com:secret", "unknown_user"},
		{"an e-mail address", []string{"username", "email"}, "alice@example.com:secret", "1"},
		{"an address of two users", []string{"email"}, "twins@example.com:secret", "unknown_user"},
		{"a name that is the address of another user", []string{"username", "email"}, "dan@example.com:dans", "4"},
		{"the same by the address", []string{"email", "username"}, "dan@example.com:dans", "wrong_password"},
		{"an inactive user", nil, "gone:secret", "inactive_user"},
		{"an inactive user with a wrong password", nil, "gone:wrong", "inactive_user"},
		{"an unusable password", nil, "unusable:secret", "unusable_password"},
		{"an unusable password as the password", nil, "unusable:!abc", "unusable_password"},
		{"no hash", nil, "empty:", "unusable_password"},
		{"a hash that is NULL", nil, "null:", "unusable_password"},
		{"a hasher that isn't in use", nil, "other:secret", "unsupported_hash"},
		{"what is no hash", nil, "plain:plain", "unsupported_hash"},
		{"a hash that asks for too much", nil, "huge:secret", "unsupported_hash"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tbl := newTable(t, PasswordConfig{Identifier: test.identifier})
			tbl.add(1, "alice", "alice@example.com", alices)
			tbl.add(2, "twin1", "twins@example.com", alices)
			tbl.add(3, "twin2", "twins@example.com", alices)
			tbl.add(4, "dan@example.com", "other@example.com", hash(t, "md5", "dans"))
			tbl.add(5, "victim", "dan@example.com", alices)
			tbl.add(6, "gone", "gone@example.com", alices).IsActive = false
			tbl.add(7, "unusable", "", password.MakeUnusable())
			tbl.add(8, "empty", "", "")
			tbl.add(9, "null", "", "").Password = nil
			tbl.add(10, "other", "", other)
			tbl.add(11, "plain", "", "plain")
			tbl.add(12, "huge", "", "pbkdf2_sha256$10000001$salt$c2FsdA==")
			tbl.want(t, strings.ReplaceAll(test.userpass, "HASH", alices), test.want)
			tbl.wantHashes(t, 1)
		})
	}
}

// TestRightPasswordIsHashedOnce, and then as long as the user's row has its hash
// and the name.
func TestRightPasswordIsHashedOnce(t *testing.T) {
	tbl := newTable(t, PasswordConfig{Identifier: []string{"username", "email"}})
	alice := tbl.add(1, "alice", "alice@example.com", hash(t, "md5", "secret"))
	step := func(userpass, want string, hashes int, finds ...string) {
		t.Helper()
		tbl.finds = nil
		tbl.want(t, userpass, want)
		tbl.wantHashes(t, hashes)
		if !slices.Equal(tbl.finds, finds) {
			t.Errorf("%s was looked up by %q, want %q", userpass, tbl.finds, finds)
		}
	}
	step("alice:secret", "1", 1, "name")
	step("alice:secret", "1", 0, "key")
	step("alice:wrong", "wrong_password", 1, "name")
	step("alice:wrong", "wrong_password", 1, "name")
	step("Alice:secret", "1", 0, "name")
	step("Alice:secret", "1", 0, "key")
	step("alice:secret", "1", 0, "key")
	step("alice@example.com:secret", "1", 1, "name")
	step("alice@example.com:secret", "1", 0, "key")

	// Another user has the name now.
	alice = tbl.set(alice, func(u *userstore.User) { u.Username = "alicia" })
	bob := tbl.add(2, "alice", "bob@example.com", hash(t, "md5", "bobs"))
	step("alice:secret", "wrong_password", 1, "key", "name")
	step("alice:bobs", "2", 1, "name")
	step("alicia:secret", "1", 1, "name")
	step("alice@example.com:secret", "1", 0, "key")

	// The other user has the same password.
	tbl.set(bob, func(u *userstore.User) { same := hash(t, "md5", "secret"); u.Password = &same })
	step("alice:secret", "2", 1, "key", "name")
	step("alice:secret", "2", 0, "key")

	alice = tbl.set(alice, func(u *userstore.User) { u.IsActive = false })
	step("alicia:secret", "inactive_user", 0, "key")
	alice = tbl.set(alice, func(u *userstore.User) { u.IsActive = true })
	step("alicia:secret", "1", 0, "key")
	alice = tbl.set(alice, func(u *userstore.User) { changed := hash(t, "md5", "new"); u.Password = &changed })
	step("alicia:secret", "wrong_password", 1, "key")
	step("alicia:new", "1", 1, "name")
	tbl.set(alice, func(u *userstore.User) { u.PrimaryKey = token.IntKey(9) })
	step("alicia:new", "9", 1, "key", "name")
}

func TestVerdictsOutliveAReload(t *testing.T) {
	tbl := newTable(t, PasswordConfig{})
	tbl.add(1, "alice", "", hash(t, "md5", "secret"))
	tbl.want(t, "alice:secret", "1")
	next := newTable(t, PasswordConfig{})
	next.users = tbl.users
	next.want(t, "alice:secret", "1")
	next.wantHashes(t, 0)
	without := newTable(t, PasswordConfig{Hashers: []string{"pbkdf2_sha1"}})
	without.users = tbl.users
	without.want(t, "alice:secret", "unsupported_hash")
}

func TestFailuresOfNameAndAddressAreOneUsers(t *testing.T) {
	tbl := newTable(t, PasswordConfig{Identifier: []string{"username", "email"}, MaxConcurrent: 7})
	tbl.add(1, "alice", "alice@example.com", hash(t, "md5", "secret"))
	for i, userpass := range []string{"alice:1", "alice@example.com:2", "ALICE:3", "Alice@Example.com:4", "alice:5"} {
		if _, err := tbl.send(t, "192.0.2."+string(rune('1'+i)), userpass); ReasonOf(err) != "wrong_password" {
			t.Errorf("%s: %v", userpass, err)
		}
	}
	// The sixth has to wait, from any client, and by either name.
	for i, userpass := range []string{"alice:6", "alice@example.com:7"} {
		began := tbl.hashes
		ctx, cancel := context.WithCancel(t.Context())
		r := basicRequest("198.51.100."+string(rune('1'+i)), userpass)
		r = r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, r.Context().Value(caddyhttp.VarsCtxKey)))
		c := tbl.scheme.Take(r)[0].(*PasswordCredential)
		result := make(chan error)
		go func() { result <- c.ProveSlowly(ctx, tbl.users[0]) }()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) || tbl.hashes != began {
			t.Errorf("%s wasn't delayed: %v", userpass, err)
		}
	}
}

func TestTooManyGuessesAtOnceAre429(t *testing.T) {
	tbl := newTable(t, PasswordConfig{MaxConcurrent: 8})
	alice := tbl.add(1, "alice", "", hash(t, "md5", "secret"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var limited atomic.Int64
	results := make(chan error)
	const guesses = 100
	for i := range guesses {
		c := tbl.scheme.Credential(basicRequest("192.0.2.1", ""), "alice", string(rune('a'+i)))
		go func() { results <- c.ProveSlowly(ctx, alice) }()
	}
	for range guesses - 20 {
		err := <-results
		if exceeded, ok := errors.AsType[*limit.Exceeded](err); ok && exceeded.Wait > 0 {
			limited.Add(1)
		}
	}
	if limited.Load() < guesses-20-5 {
		t.Errorf("%d of the first %d answers were 429", limited.Load(), guesses-20)
	}
	cancel()
	for range 20 {
		<-results
	}
}

func TestUpgradeHash(t *testing.T) {
	for _, test := range []struct {
		name      string
		cfg       PasswordConfig
		algorithm string
		denies    error
		change    func(*userstore.User)
		want      string
		upgraded  bool
		lookups   int
	}{
		{"another hasher is preferred", PasswordConfig{UpgradeHash: true}, "sha1", nil, nil, "1", true, 2},
		{"the preferred one", PasswordConfig{UpgradeHash: true}, "md5", nil, nil, "1", false, 1},
		{"it is off", PasswordConfig{}, "sha1", nil, nil, "1", false, 1},
		{"an inactive user", PasswordConfig{UpgradeHash: true}, "sha1", nil, func(u *userstore.User) { u.IsActive = false }, "inactive_user", false, 1},
		{"MySQL has no answer", PasswordConfig{UpgradeHash: true}, "sha1", userstore.ErrUnavailable, nil, "1", false, 1},
		{"the password was changed meanwhile", PasswordConfig{UpgradeHash: true}, "sha1", userstore.ErrChanged, nil, "1", false, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			tbl := newTable(t, test.cfg)
			encoded := hash(t, test.algorithm, "secret")
			alice := tbl.add(1, "alice", "", encoded)
			if test.change != nil {
				test.change(alice)
			}
			tbl.denies = test.denies
			tbl.want(t, "alice:secret", test.want)
			if len(tbl.finds) != test.lookups {
				t.Errorf("%d lookups, want %d", len(tbl.finds), test.lookups)
			}
			if upgraded := *tbl.users[0].Password != encoded; upgraded != test.upgraded {
				t.Errorf("the hash was upgraded: %t", upgraded)
			}
			tbl.hashes = 0
			tbl.want(t, "alice:secret", test.want)
			tbl.wantHashes(t, 0)
		})
	}
}

func TestPasswordLogsHashesThatItCannotCheck(t *testing.T) {
	tbl := newTable(t, PasswordConfig{})
	tbl.add(1, "huge", "", "pbkdf2_sha256$10000001$salt$c2FsdA==")
	for range 3 {
		tbl.want(t, "huge:secret", "unsupported_hash")
	}
	lines := tbl.logs.All()
	if len(lines) != 1 || lines[0].Level != zap.WarnLevel {
		t.Fatalf("%d lines of the log, want a warning", len(lines))
	}
	text := lines[0].Message
	for key, value := range lines[0].ContextMap() {
		text += " " + key + "=" + value.(string)
	}
	if !strings.Contains(text, "user=1") || !strings.Contains(text, "10000001") || strings.Contains(text, "c2FsdA") || strings.Contains(text, "secret") {
		t.Error(text)
	}
}

func TestPasswordTakesAllOfBasic(t *testing.T) {
	alice := "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:secret"))
	for _, test := range []struct {
		name   string
		header http.Header
		want   string // how many credentials, and why they are rejected
		left   []string
	}{
		{"none", http.Header{}, "", nil},
		{"one", http.Header{"Authorization": {alice}}, "ok", nil},
		{"in other letters", http.Header{"Authorization": {"bASIC" + alice[5:]}}, "ok", nil},
		{"more white space", http.Header{"Authorization": {" Basic \t" + alice[6:] + " "}}, "ok", nil},
		{"several", http.Header{"Authorization": {alice, alice}}, "malformed", nil},
		{"several, joined", http.Header{"Authorization": {alice + "," + alice}}, "malformed", nil},
		{"nothing behind it", http.Header{"Authorization": {"Basic"}}, "malformed", nil},
		{"what isn't base64", http.Header{"Authorization": {"Basic alice:secret"}}, "malformed", nil},
		{"an application's token", http.Header{"Authorization": {"Bearer eyJ.x.y"}}, "", []string{"Bearer eyJ.x.y"}},
		{"beside an application's token", http.Header{"Authorization": {"Bearer eyJ.x.y", alice}}, "ok", []string{"Bearer eyJ.x.y"}},
		{"a form of another site", http.Header{"Authorization": {alice}, "Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}, "cross_site", nil},
		{"a form of a sibling", http.Header{"Authorization": {alice}, "Sec-Fetch-Site": {"same-site"}}, "cross_site", nil},
		{"a form that hides its origin", http.Header{"Authorization": {alice}, "Origin": {"null"}}, "cross_site", nil},
		{"a form of the site", http.Header{"Authorization": {alice}, "Sec-Fetch-Site": {"same-origin"}}, "ok", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			tbl := newTable(t, PasswordConfig{})
			r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodPost, "/", nil), caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
			r.Header = test.header
			got := ""
			for _, c := range tbl.scheme.Take(r) {
				if _, err := c.Subject(t.Context(), At{}); err != nil {
					got += ReasonOf(err)
				} else {
					got += "ok"
				}
			}
			if got != test.want || !slices.Equal(r.Header["Authorization"], test.left) {
				t.Errorf("%q, and %q is left; want %q and %q", got, r.Header["Authorization"], test.want, test.left)
			}
			off := &Password{config: new(PasswordConfig)}
			if taken := off.Take(basicRequest("192.0.2.1", "alice:secret")); taken != nil || len(off.Challenges()) > 0 {
				t.Error("with basic off, Basic is taken")
			}
		})
	}
}

func TestPasswordChallenge(t *testing.T) {
	tbl := newTable(t, PasswordConfig{})
	if got, want := tbl.scheme.Challenges()[0], `Basic realm="sesame", charset="UTF-8"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := Quote(`a "b" \`), `"a \"b\" \\"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPasswordConfigThatCantBeRight(t *testing.T) {
	t.Parallel()
	for option, cfg := range map[string]PasswordConfig{
		"identifier":     {Identifier: []string{"phone"}},
		"identifier ":    {Identifier: []string{"email", "email"}},
		"hashers":        {Hashers: []string{"django.contrib.auth.hashers.Argon2PasswordHasher"}},
		"hashers ":       {Hashers: []string{"md5", "md5"}},
		"django_version": {DjangoVersion: "1.2"},
		"max_concurrent": {MaxConcurrent: -1},
		"second_factor":  {SecondFactor: "maybe"},
	} {
		err := cfg.Validate()
		named, ok := errors.AsType[*setting.Error](err)
		if !ok || named.Option() != strings.TrimSpace(option) {
			t.Errorf("%s: %v", option, err)
		}
	}
	if err := new(PasswordConfig).Validate(); err != nil {
		t.Error(err)
	}
}
