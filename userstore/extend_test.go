package userstore_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// knoxTokens is what knox makes on MySQL.
const knoxTokens = `CREATE TABLE knox_authtoken (
  digest varchar(128) NOT NULL,
  created datetime(6) NOT NULL,
  user_id int(11) NOT NULL,
  expiry datetime(6) DEFAULT NULL,
  token_key varchar(25) NOT NULL,
  PRIMARY KEY (digest),
  KEY knox_authtoken_user_id (user_id)
) ENGINE=InnoDB`

// digest has the form of knox's digests.
var digest = strings.Repeat("0123456789abcdef", 8)

func knoxVia() *userstore.Via {
	return &userstore.Via{Name: "knox", Table: "knox_authtoken", Column: "digest", User: "user_id", Reads: []string{"expiry"}, Until: "expiry", Extends: true}
}

func TestExtend(t *testing.T) {
	t.Parallel()
	off := false
	hour := userstore.Extension{By: time.Hour, AtLeast: time.Minute} // from 07:08:09.123456
	latest := func(at string) userstore.Extension {
		until, err := time.Parse("2006-01-02 15:04:05", at)
		if err != nil {
			t.Fatal(err)
		}
		return userstore.Extension{By: time.Hour, AtLeast: time.Minute, Latest: until}
	}
	chicago := userstore.Config{UseTZ: &off, TimeZone: "America/Chicago"} // where it is 02:08
	tests := []struct {
		name, column, expiry string
		by                   userstore.Extension
		cfg                  userstore.Config
		want                 string // the expiry at the end; empty for no change
	}{
		{"soon", "datetime(6)", "2026-05-06 07:10:00", hour, userstore.Config{}, "2026-05-06 08:08:09.123456"},
		{"whole seconds", "datetime", "2026-05-06 07:10:00", hour, userstore.Config{}, "2026-05-06 08:08:09"},
		{"a minute ago", "datetime(6)", "2026-05-06 08:07:09.123456", hour, userstore.Config{}, ""},
		{"more than a minute ago", "datetime(6)", "2026-05-06 08:07:09.123455", hour, userstore.Config{}, "2026-05-06 08:08:09.123456"},
		{"it ends later than that", "datetime(6)", "2026-05-06 09:00:00", hour, userstore.Config{}, ""},
		{"it has ended", "datetime(6)", "2026-05-06 07:08:09.123455", hour, userstore.Config{}, ""},
		{"it ends now", "datetime(6)", "2026-05-06 07:08:09.123456", hour, userstore.Config{}, ""},
		{"it has no end", "datetime(6)", "NULL", hour, userstore.Config{}, ""},
		{"the latest end is sooner", "datetime(6)", "2026-05-06 07:10:00", latest("2026-05-06 07:30:00"), userstore.Config{}, "2026-05-06 07:30:00.000000"},
		{"it has the latest end", "datetime(6)", "2026-05-06 07:10:00", latest("2026-05-06 07:10:00"), userstore.Config{}, ""},
		{"the latest end is later", "datetime(6)", "2026-05-06 07:10:00", latest("2026-05-06 10:00:00"), userstore.Config{}, "2026-05-06 08:08:09.123456"},
		{"the latest end has passed", "datetime(6)", "2026-05-06 07:10:00", latest("2026-05-06 07:00:00"), userstore.Config{}, ""},
		{"for ever", "datetime(6)", "2026-05-06 07:10:00", userstore.Extension{By: 1<<63 - 1}, userstore.Config{}, "2318-08-16 06:55:25.978232"},
		{"in another zone", "datetime(6)", "2026-05-06 02:10:00", hour, chicago, "2026-05-06 03:08:09.123456"},
		{"in another zone, ended", "datetime(6)", "2026-05-06 02:08:00", hour, chicago, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			expiry := "'" + test.expiry + "'"
			if test.expiry == "NULL" {
				expiry = "NULL"
			}
			d := newDatabase(t, authUser, threeUsers, strings.Replace(knoxTokens, "expiry datetime(6)", "expiry "+test.column, 1),
				"INSERT INTO knox_authtoken VALUES ('"+digest+"', NOW(), 1, "+expiry+", ''), ('other', NOW(), 1, '2026-05-06 07:10:00', '')")
			before := d.text("SELECT expiry FROM knox_authtoken WHERE digest = ?", digest)
			via := knoxVia()
			cfg := test.cfg
			cfg.DSN = d.dsn()
			s := openStore(t, cfg, userstore.Needs{Vias: []*userstore.Via{via}})
			// Not by the key, so that MySQL alone decides.
			extended, err := s.Extend(t.Context(), via.Key(digest), d.lookup(s, 1), startOfTests, test.by)
			if err != nil {
				t.Fatal(err)
			}
			want := test.want
			if want == "" {
				want = before
			}
			if got := d.text("SELECT expiry FROM knox_authtoken WHERE digest = ?", digest); got != want || extended != (test.want != "") {
				t.Errorf("the end is %s, want %s; extended: %t", got, want, extended)
			}
			for _, key := range []string{strings.ToUpper(digest), digest + " ", "é", ""} {
				if extended, err := s.Extend(t.Context(), via.Key(key), d.lookup(s, 1), startOfTests, test.by); extended || err != nil {
					t.Errorf("%q is extended: %t, %v", key, extended, err)
				}
			}
			if got := d.text("SELECT LEFT(expiry, 19) FROM knox_authtoken WHERE digest = 'other'"); got != "2026-05-06 07:10:00" {
				t.Errorf("the end of another became %s", got)
			}
		})
	}
}

// TestExtendByManyRequests has the requests of two gateways extend one row.
func TestExtendByManyRequests(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, knoxTokens, "INSERT INTO knox_authtoken VALUES ('"+digest+"', NOW(), 1, UTC_TIMESTAMP() + INTERVAL 10 MINUTE, '')")
	via := knoxVia()
	var gateways []*userstore.MySQL
	for _, limit := range []int{20, 21} {
		cfg := userstore.Config{DSN: d.dsn(), MaxOpenConns: limit, QueryTimeout: caddy.Duration(20 * time.Second)}
		gateways = append(gateways, openStore(t, cfg, userstore.Needs{Vias: []*userstore.Via{via}}))
	}
	u := d.lookup(gateways[0], 1)
	var extended atomic.Int32
	var done sync.WaitGroup
	for i := range 100 {
		done.Go(func() {
			wrote, err := gateways[i%2].Extend(t.Context(), via.Key(digest), u, time.Now(), userstore.Extension{By: time.Hour, AtLeast: 5 * time.Minute})
			if err != nil {
				t.Error(err)
			}
			if wrote {
				extended.Add(1)
			}
		})
	}
	done.Wait()
	if extended.Load() != 1 {
		t.Errorf("%d requests wrote", extended.Load())
	}
}

// TestExtendNoLonger has a row end while it is in use.
func TestExtendNoLonger(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, knoxTokens, "INSERT INTO knox_authtoken VALUES ('"+digest+"', NOW(), 1, '2999-01-01', '')")
	via := knoxVia()
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: []*userstore.Via{via}})
	u := d.lookup(s, 1)
	d.exec("DELETE FROM knox_authtoken")
	extended, err := s.Extend(t.Context(), via.Key(digest), u, time.Now(), userstore.Extension{By: time.Hour})
	if extended || err != nil || d.text("SELECT COUNT(*) FROM knox_authtoken") != "0" {
		t.Errorf("a row that was deleted is extended: %t, %v", extended, err)
	}
}

// TestExtendLooksAtTheRowThatWasRead: a row that needs no extension costs no write.
func TestExtendLooksAtTheRowThatWasRead(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, knoxTokens, "INSERT INTO knox_authtoken VALUES ('"+digest+"', NOW(), 1, '2999-01-01', '')")
	via := knoxVia()
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: []*userstore.Via{via}})
	lookup := func() *userstore.User {
		t.Helper()
		u, err := s.LookupVia(t.Context(), via.Key(digest))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	by, now := userstore.Extension{By: time.Hour, AtLeast: time.Minute}, time.Now()
	u := lookup()
	// By now the row needs to be extended, but the user that was read doesn't tell.
	d.exec("UPDATE knox_authtoken SET expiry = UTC_TIMESTAMP() + INTERVAL 10 MINUTE")
	for _, step := range []struct {
		name string
		user *userstore.User
		want bool
	}{
		{"as it was read, it ends late", u, false},
		{"as it is read now, it ends soon", lookup(), true},
		{"as it was read then, but another request was first", lookup(), false},
	} {
		extended, err := s.Extend(t.Context(), via.Key(digest), step.user, now, by)
		if err != nil || extended != step.want {
			t.Errorf("%s: extended: %t, %v", step.name, extended, err)
		}
	}
}
