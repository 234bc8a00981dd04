package userstore_test

import (
	"testing"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestDriverOfFollowWritesToCaddysLog has the driver say something by the configuration
// that the log is followed with. By itself, it writes to standard error.
func TestDriverOfFollowWritesToCaddysLog(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	core, logs := observer.New(zap.DebugLevel)
	store, err := userstore.Open(t.Context(), userstore.Config{DSN: d.dsn(), Follow: new(userstore.FollowConfig)}, userstore.Needs{}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	log := newScriptedLog(t, d)
	following := store.Follow(log)
	t.Cleanup(func() { following.Close() })
	var driver mysql.Logger
	eventually(t, func() error {
		log.set(func() {
			if log.source.Server != nil {
				driver = log.source.Server.Logger
			}
		})
		return hasLogged(driver != nil)
	})
	driver.Print("unexpected EOF")
	if n := logs.FilterMessage("MySQL driver").FilterField(zap.String("message", "unexpected EOF")).Len(); n != 1 {
		t.Errorf("%d lines have what the driver says", n)
	}
}
