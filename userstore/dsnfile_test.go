package userstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// account is a user of the test server with a password, for one test.
type account struct {
	d    *database
	name string
}

func newAccount(t *testing.T, d *database) account {
	t.Helper()
	a := account{d, fmt.Sprintf("a%d_%s", os.Getpid()%10000, strings.TrimPrefix(d.name, "userstore_"))}
	d.exec("CREATE USER "+a.name+"@'%' IDENTIFIED BY 's3cret-1'", "GRANT ALL ON "+d.name+".* TO "+a.name+"@'%'")
	t.Cleanup(func() { d.exec("DROP USER " + a.name + "@'%'") })
	return a
}

func (a account) dsn(password string) string {
	return serverConfig(a.d.t, func(cfg *mysql.Config) { cfg.User, cfg.Passwd, cfg.DBName = a.name, password, a.d.name })
}

// write puts a text into a file as programs that rotate secrets do.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// TestPasswordRotation changes a password while users are looked up, in the file
// first or in the server first. Lookups fail only if they need a new connection
// while the two passwords differ. At the end, no connection with the former
// password is left.
func TestPasswordRotation(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"file first", "server first"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers)
			a := newAccount(t, d)
			file := filepath.Join(t.TempDir(), "dsn")
			write(t, file, a.dsn("s3cret-1"))
			other := openStore(t, userstore.Config{DSNFile: file}, userstore.Needs{})
			// The lines are the newest configuration's.
			s, logs := openLogged(t, userstore.Config{DSNFile: file}, userstore.Needs{LastLogin: true})
			if other.PoolID() != s.PoolID() {
				t.Error("two sites with one file don't share connections")
			}

			stop := make(chan struct{})
			var lookups sync.WaitGroup
			var changed atomic.Int32 // of the file and the server
			for range 4 {
				lookups.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						began := changed.Load()
						_, err := s.Lookup(t.Context(), token.IntKey(1))
						mayLack := order == "server first" && began < 2 && changed.Load() > 0
						if err != nil && !mayLack {
							t.Error(err)
						}
					}
				})
			}
			defer func() { close(stop); lookups.Wait() }()
			newest := d.text("SELECT COALESCE(MAX(ID), 0) FROM information_schema.PROCESSLIST WHERE USER = ?", a.name)
			changes := []func(){
				func() { write(t, file, a.dsn("s3cret-2")) },
				func() { d.exec("SET PASSWORD FOR " + a.name + "@'%' = PASSWORD('s3cret-2')") },
			}
			if order == "server first" {
				changes[0], changes[1] = changes[1], changes[0]
			}
			changed.Store(1)
			changes[0]()
			if order == "file first" {
				eventually(t, func() error { return hasLogged(logs.FilterMessageSnippet("has changed").Len() > 0) })
			}
			changes[1]()
			changed.Store(2)
			eventually(t, func() error {
				return hasLogged(d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = ? AND ID <= ?", a.name, newest) == "0")
			})
			for _, line := range logs.All() {
				if text := fmt.Sprint(line); strings.Contains(text, "s3cret") {
					t.Errorf("the log has the password: %s", text)
				}
				if line.Level > zap.InfoLevel {
					t.Errorf("logged %v", line)
				}
			}
		})
	}
}

// hasLogged returns an error until the message was logged.
func hasLogged(is bool) error {
	if !is {
		return errors.New("it isn't as it should be yet")
	}
	return nil
}

// TestDSNFileThatIsWrong changes nothing.
func TestDSNFileThatIsWrong(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	a := newAccount(t, d)
	file := filepath.Join(t.TempDir(), "dsn")
	cfg := userstore.Config{DSNFile: file, MaxIdleConns: 1}
	for _, wrong := range []string{"", "a:s3cret@nowhere", "a:s3cret@tcp(localhost)/?tls=s3cret", "a:s3cret@tcp(localhost:3306)/"} {
		if wrong != "" {
			write(t, file, wrong)
		}
		_, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{}, zap.NewNop())
		wantError(t, err)
		if n := userstore.PoolReferences(cfg); n != 0 {
			t.Errorf("the pool has %d references after the failure", n)
		}
	}
	write(t, file, a.dsn("s3cret-1"))
	s, logs := openLogged(t, cfg, userstore.Needs{})
	for i, wrong := range []string{
		"", "s3cret", "a:s3cret@tcp(localhost:3306)/other",
		strings.Replace(a.dsn("s3cret-1"), "/"+d.name, "/"+d.name+"?tls=s3cret&x=", 1),
	} {
		write(t, file, wrong)
		eventually(t, func() error { return hasLogged(logs.FilterMessageSnippet("can't be used").Len() > i) })
		if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return hasLogged(logs.FilterMessageSnippet("can't be used").Len() > 4) })
	write(t, file, a.dsn("s3cret-1")+"&loc=UTC")
	if !strings.Contains(a.dsn(""), "?") {
		write(t, file, a.dsn("s3cret-1")+"?loc=UTC")
	}
	eventually(t, func() error { return hasLogged(logs.FilterMessageSnippet("has changed").Len() == 1) })
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
		t.Error(err)
	}
	for _, line := range logs.All() {
		if text := fmt.Sprint(line); strings.Contains(text, "s3cret") {
			t.Errorf("the log has the password: %s", text)
		}
	}
}

// TestWrongPasswordInTheFileIsAnOutage: a wrong password in the file is an outage, until the
// file has the right one.
func TestWrongPasswordInTheFileIsAnOutage(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	a := newAccount(t, d)
	file := filepath.Join(t.TempDir(), "dsn")
	write(t, file, a.dsn("s3cret-1"))
	s := openStore(t, userstore.Config{DSNFile: file}, userstore.Needs{})
	d.exec("SET PASSWORD FOR " + a.name + "@'%' = PASSWORD('s3cret-2')")
	d.exec("KILL USER " + a.name)
	var refused error
	eventually(t, func() error {
		_, refused = s.Lookup(t.Context(), token.IntKey(1))
		return hasLogged(refused != nil)
	})
	if !errors.Is(refused, userstore.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", refused)
	}
	write(t, file, a.dsn("s3cret-2"))
	began := time.Now()
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
		t.Errorf("with the new password, which a refusal has read at once: %v", err)
	}
	t.Logf("back after %s", time.Since(began))
}

// TestReloadUsesTheDatabaseThatTheFileNamesNow has a file name another database, in which
// other users have the same keys. Until a reload the former one stays in use.
func TestReloadUsesTheDatabaseThatTheFileNamesNow(t *testing.T) {
	t.Parallel()
	former, present := newDatabase(t, authUser, threeUsers), newDatabase(t, authUser, threeUsers)
	present.exec("UPDATE auth_user SET password = 'present'")
	file := filepath.Join(t.TempDir(), "dsn")
	write(t, file, former.dsn())
	cfg := userstore.Config{DSNFile: file}
	s, logs := openLogged(t, cfg, userstore.Needs{})
	lookUp := func(s *userstore.MySQL) string {
		t.Helper()
		cache, err := userstore.NewCache(s, userstore.CacheConfig{For: caddy.Duration(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cache.Close() })
		user, err := (&userstore.Finder{Store: s, Cache: cache}).Find(t.Context(), userstore.ByPrimaryKey(token.IntKey(1)), false, func(*userstore.User) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return *user.Password
	}
	if got := lookUp(s); got == "present" {
		t.Fatalf("the former database has the password %q", got)
	}
	write(t, file, present.dsn())
	eventually(t, func() error { return hasLogged(logs.FilterMessageSnippet("the former DSN stays in use").Len() > 0) })
	if got := lookUp(s); got == "present" {
		t.Error("the other database was used before a reload")
	}
	// The former configuration ends after the new one has begun.
	if got := lookUp(openStore(t, cfg, userstore.Needs{})); got != "present" {
		t.Errorf("after a reload, the user has the password %q of the former database", got)
	}
}

// TestConnectionThatIsOpenedWhileTheServerChangesIsNotUsed changes the server in the file
// while a connection to the former one waits for that one's greeting, which comes
// afterwards. The log is followed, so that the pool knows which server answers.
func TestConnectionThatIsOpenedWhileTheServerChangesIsNotUsed(t *testing.T) {
	t.Parallel()
	former, has := newServerDatabase(t)
	has.exec(authUser, threeUsers, "UPDATE auth_user SET password = 'former'")
	promoted, has := newServerDatabase(t)
	has.exec(authUser, threeUsers, "UPDATE auth_user SET password = 'promoted'")
	proxy, err := faultproxy.Start(former.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)

	file := filepath.Join(t.TempDir(), "dsn")
	write(t, file, strings.Replace(former.DSN(has.name), former.Addr(), proxy.Addr(), 1))
	s, logs := openLogged(t, userstore.Config{
		DSNFile: file, QueryTimeout: caddy.Duration(time.Minute), Follow: new(userstore.FollowConfig),
	}, userstore.Needs{})
	lookUp := func() string {
		user, err := s.Lookup(t.Context(), token.IntKey(1))
		if err != nil {
			t.Error(err)
			return ""
		}
		return *user.Password
	}
	if got := lookUp(); got != "former" {
		t.Fatalf("before the change, the user has the password %q", got)
	}
	proxy.ResetOnce()
	eventually(t, func() error { return hasLogged(proxy.Connections() == 0) })
	proxy.Freeze()
	waiting := make(chan string, 1)
	go func() { waiting <- lookUp() }()
	eventually(t, func() error { return hasLogged(proxy.Connections() > 0) })
	write(t, file, promoted.DSN(has.name))
	eventually(t, func() error { return hasLogged(logs.FilterMessageSnippet("has changed").Len() > 0) })
	proxy.Pass()
	<-waiting // a lookup from before the change
	for range 3 {
		if got := lookUp(); got != "promoted" {
			t.Errorf("after the change, the user has the password %q", got)
		}
	}
}
