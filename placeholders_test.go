package sesame_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPlaceholdersOfOtherDirectivesWork, with a warning, as nothing in the
// configuration of sesame shows that they are set.
func TestPlaceholdersOfOtherDirectivesWork(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{
			before:  "map {http.request.uri.path.0} {tenant} {\n reports r\n default \"\"\n}\n",
			options: "scope {tenant}\nidentity {\n X-Tenant {tenant}\n X-Other {tenat}\n}\nrealm {env.NOSUCH}",
		})
		g.get(t, "/reports/7", "Authorization", "Bearer "+tokenAt(t, alice, "r", time.Now())).wantStatus(t, http.StatusOK)
		received := up.takeOne(t)
		if got := received.header.Get("X-Tenant"); got != "r" || received.header["X-Other"] != nil {
			t.Errorf("X-Tenant: %q, X-Other: %q", got, received.header["X-Other"])
		}
		g.get(t, "/other", "Authorization", "Bearer "+tokenAt(t, alice, "", time.Now())).wantStatus(t, http.StatusUnauthorized)
		wantText(t, string(g.log(t)),
			"scope: {tenant} isn't a placeholder of Caddy's own", "identity X-Tenant: {tenant}", "identity X-Other: {tenat}", "realm: {env.NOSUCH} is used as it stands",
			"no placeholder of {tenant} has a value for it")
	})
}

// TestCheckCommandWarnsOfPlaceholdersWithoutAValue names the placeholder that is
// likely to be meant.
func TestCheckCommandWarnsOfPlaceholdersWithoutAValue(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		o := newOperator(t, oneSite("max_age 10m\nscope report:{pth}\nsession {\n domain {env.DOMAIN}\n}", ""), db.dsn)
		wantText(t, o.run(t, "check").stdout,
			"placeholders", "scope: {pth} isn't", "if you mean {http.request.uri.path}, write that",
			"session domain: {env.DOMAIN} is used as it stands", "{$NAME} is replaced")
		o = newOperator(t, oneSite("max_age 10m\nscope report:{http.request.uri.path.1}-{http.vars.x}", ""), db.dsn)
		if got := o.run(t, "check").stdout; strings.Contains(got, "placeholder") {
			t.Errorf("warned of placeholders:\n%s", got)
		}
	})
}
