package secondfactor_test

import (
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestDifferential has the libraries judge codes by rows in MariaDB, undoes what they
// have written, and has the gateway judge the same codes by the same rows.
func TestDifferential(t *testing.T) {
	t.Parallel()
	sources := testpeer.Checkouts(t, "OTP_SRC", "django-otp, django-allauth and Django, all of them")
	if server == nil {
		t.Skip("no MariaDB: install mariadb-server")
	}
	dsn := testpeer.NewDatabase(t, server.Server, "factors_differential")
	differential := testpeer.NewDifferential(t, 1_000, 1)
	peer := testpeer.Start(t, "testdata/peer.py", sources...)
	peer.Ask(t, testpeer.DjangoDatabase(t, dsn), new(struct{}))
	d := &database{TB: t}
	s := d.store(userstore.Config{DSN: dsn, QueryTimeout: patient})
	accepted := 0
	for differential.Goes(t) {
		var want struct {
			Code string `json:"code"`
			Now  int64  `json:"now"`
			OK   bool   `json:"ok"`
			Rows string `json:"rows"`
		}
		peer.Ask(t, differential.Rand.Uint64()>>1, &want)
		kind := ""
		if err := s.UseFactors(t.Context(), token.IntKey(1), func(factors []*userstore.Factor) {
			kind = secondfactor.Accepts(factors, want.Code, time.Unix(want.Now, 0).UTC())
		}); err != nil {
			t.Fatal(err)
		}
		var got string
		peer.Ask(t, nil, &got)
		if (kind != "") != want.OK || got != want.Rows {
			t.Errorf("the code %q at %d is accepted by %q, and leaves %s; the library says %t, and leaves %s", want.Code, want.Now, kind, got, want.OK, want.Rows)
		}
		if want.OK {
			accepted++
		}
		differential.Compared(1)
	}
	t.Logf("%d codes accepted", accepted)
}
