package e2e_test

import (
	"cmp"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// zoe has a name with a letter outside of ASCII.
var zoe = testUser{id: 5, username: "zoë", email: "zoe@example.com"}

// guide is a page of docs/ that says how an application is configured. The tests
// run what is written there.
type guide struct{ name, text string }

func readGuide(t *testing.T, name string) guide {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return guide{name: name, text: string(text)}
}

// block is the first piece of code in a language below a heading.
func (g guide) block(t *testing.T, heading, language string) string {
	t.Helper()
	_, section, ok := strings.Cut(g.text, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", g.name, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	_, code, ok := strings.Cut(section, "```"+language+"\n")
	code, _, closed := strings.Cut(code, "```\n")
	if !ok || !closed {
		t.Fatalf("%s has no %s below %q", g.name, language, heading)
	}
	return code
}

// placed is what a guide has, with the places of this test in it. Each of the
// guide's places must be there.
func placed(t *testing.T, text string, places map[string]string) string {
	t.Helper()
	for from, to := range places {
		if !strings.Contains(text, from) {
			t.Fatalf("there is no %q in\n%s", from, text)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	return text
}

// origins are the one in a guide's Caddyfile, and that of a test with a port.
func origins(t *testing.T, caddyfile string) (documented, used string) {
	t.Helper()
	host, _, ok := strings.Cut(caddyfile, " {\n")
	if !ok || strings.ContainsAny(host, " \n") {
		t.Fatalf("the Caddyfile begins with no site of one host:\n%s", caddyfile)
	}
	return "https://" + host, "https://" + host + ":" + freePort(t)
}

// startDocumented runs a gateway with a Caddyfile of a guide at an origin. Only
// the places are replaced in it, and a store on a busy machine may take longer.
func startDocumented(t *testing.T, caddyfile, origin string, places map[string]string) *gateway {
	t.Helper()
	db.reset(t)
	db.add(t, zoe)
	host, site, _ := strings.Cut(placed(t, caddyfile, places), " {\n")
	const dsn = "dsn {env.SESAME_DSN}\n"
	site = placed(t, site, map[string]string{dsn: dsn + "\t\t\tquery_timeout 20s\n"})
	if !strings.HasPrefix(origin, "https://"+host+":") {
		t.Fatalf("the Caddyfile is for %s, and not for %s", host, origin)
	}
	g := &gateway{origin: origin, logs: filepath.Join(t.TempDir(), "caddy.log")}
	g.run(t, fmt.Sprintf(`%s {
	log
	tls internal
%s`, origin, site), "SESAME_DSN="+db.dsn, "DJANGO_SECRET_KEY="+secretKey)
	t.Cleanup(func() { g.wantNoWarnings(t) })
	return g
}

// wantNoWarnings fails the test if the gateway has warned of what an application
// or its configuration does.
func (g *gateway) wantNoWarnings(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(g.logs)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		// Not the store's, which may warn of a slow database.
		isOurs := strings.Contains(line, `"logger":"http.handlers.sesame"`)
		if isOurs && (strings.Contains(line, `"level":"warn"`) || strings.Contains(line, `"level":"error"`)) || strings.Contains(line, "panic") {
			t.Errorf("the gateway logs %s", line)
		}
	}
}

// add adds a user to those that reset has made.
func (db *database) add(t *testing.T, u testUser) {
	t.Helper()
	db.exec(t, `INSERT INTO auth_user (id, password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
		VALUES (?, ?, NULL, 0, ?, '', '', ?, 0, 1, '2020-01-01 00:00:00')`, u.id, u.password(), u.username, u.email)
}

// application is an application behind a gateway.
type application struct {
	*gateway
	path  string            // of a page that shows the user
	shown string            // a JavaScript expression for the user's name there
	names map[string]string // what it shows, if that isn't the user's name
	keeps []string          // its cookies that hold no login, and stay after a logout
	title string            // of the gateway's page without a login, if there is another way in than a link
}

// newTab opens a tab in which the application may complain of what it likes.
func (a *application) newTab(t *testing.T) *tab {
	t.Helper()
	b := newTab(t)
	b.isApplication = true
	return b
}

// logIn opens a link of a user's. If the browser is another user's, the gateway
// asks first.
func (a *application) logIn(b *tab, u testUser) {
	b.t.Helper()
	separator := "?"
	if strings.Contains(a.path, "?") {
		separator = "&"
	}
	b.open(a.origin + a.path + separator + "sesame=" + tokenFor(b.t, u, withMaxAge(10*time.Minute)))
	if b.text(`document.title`) == "Switch to another account?" {
		b.click("button")
	}
}

// wantUser waits until the application's page shows a user.
func (a *application) wantUser(b *tab, u testUser) {
	b.t.Helper()
	want := u.username
	if name, ok := a.names[u.username]; ok {
		want = name
	}
	if !b.shows(a.shown, want) {
		b.t.Fatalf("the application doesn't show %q but %q; at %s: %.500s",
			want, b.text(tolerant(a.shown)), b.url(), b.text(`document.body?.innerText`))
	}
}

// wantNobody fails the test unless the application's page needs a login.
func (a *application) wantNobody(b *tab) {
	b.t.Helper()
	b.open(a.origin + a.path)
	b.wantTitle(cmp.Or(a.title, "You need a link to get in"))
}

// tolerant is an expression that is empty where a page isn't there yet.
func tolerant(expression string) string {
	return `(() => { try { return ` + expression + ` } catch { return "" } })()`
}

// shows waits for the value of an expression.
func (b *tab) shows(expression, want string) bool {
	b.t.Helper()
	return comes(func() bool { return b.text(tolerant(expression)) == want })
}

// logOut logs out on the gateway's page.
func (a *application) logOut(b *tab) {
	b.t.Helper()
	b.open(a.origin + "/_sesame/logout")
	b.click("button")
	b.wantTitle("You are logged out")
}

// cookies are the names of those that the browser has for the application.
func (a *application) cookies(b *tab) (names []string) {
	b.t.Helper()
	for _, cookie := range call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{a.origin + a.path}}).Cookies {
		names = append(names, cookie.Name)
	}
	return names
}

// checkUsers has users log in and out in one browser, one after the other. The
// application must show each of them, and none of them to another.
func (a *application) checkUsers(t *testing.T, users ...testUser) {
	t.Helper()
	b := a.newTab(t)
	for _, u := range users {
		a.logIn(b, u) // and asks before it replaces the user before
		a.wantUser(b, u)
	}
	first, last := users[0], users[len(users)-1]
	b.open(a.origin + a.path)
	a.wantUser(b, last)

	a.logOut(b)
	for _, name := range a.cookies(b) {
		if !slices.Contains(a.keeps, name) {
			t.Errorf("after the logout the browser has the cookie %s", name)
		}
	}
	a.wantNobody(b)

	// What a client says of itself counts neither with a login nor without.
	forged := network.Headers{}
	for _, name := range []string{"Remote-User", "remote_user", "X-Remote-User", "X-Forwarded-User", "Remote-User-Id", "X-Node-Red-User", "User-Name", "User-Mail"} {
		forged[name] = last.username
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: forged})
	a.wantNobody(b)
	a.logIn(b, first)
	a.wantUser(b, first)

	db.exec(t, "UPDATE auth_user SET is_active = 0 WHERE id = ?", first.id)
	a.wantNobody(b)
	db.exec(t, "UPDATE auth_user SET is_active = 1 WHERE id = ?", first.id)
}

// status is how a program's request with a user's token is answered.
func (a *application) status(t *testing.T, uri string, u testUser) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.origin+uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+tokenFor(t, u, withMaxAge(10*time.Minute)))
	answer, err := a.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode
}

// fetch has the page of a tab send a request, and returns the status and the
// answer.
func (b *tab) fetch(method, url, contentType, body string) (status, answer string) {
	b.t.Helper()
	b.script(fmt.Sprintf(`window.answer = undefined;
		fetch(%q, {method: %q, headers: {"Content-Type": %q}, body: %q || undefined}).then(async r => { window.answer = [r.status, await r.text()] })`,
		url, method, contentType, body))
	poll(b.t, "the answer to "+method+" "+url, func() bool { return b.text(`window.answer !== undefined`) == "true" })
	return b.text(`window.answer[0]`), b.text(`window.answer[1]`)
}

// evaluate runs an expression of JavaScript that makes the browser load a page.
func evaluate(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](expression)
}

// needs skips a test by what it lacks, or fails it where it must not be left out.
func needs(t *testing.T, has bool, lack string) {
	t.Helper()
	switch {
	case has:
	case os.Getenv("CI") != "":
		t.Fatal(lack)
	default:
		t.Skip(lack)
	}
}

// exists tells whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// asServed copies an application's files, to where PHP-FPM's workers may read
// and write them, and returns the directory.
func asServed(t *testing.T, from string) (dir string) {
	t.Helper()
	dir = openDir(t)
	copyFiles(t, from, dir)
	return dir
}

// copyFiles copies what is in a directory, and what links there lead to.
func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("cp", "-rL", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("copying %s: %v\n%s", from, err, output)
	}
}

// newDatabase makes a database of MariaDB for an application.
func newDatabase(t *testing.T, name string) (dsn string) {
	t.Helper()
	needs(t, mariadb != nil, "MariaDB isn't installed, and the application needs it (Debian: apt-get install mariadb-server)")
	return testpeer.NewDatabase(t, mariadb.Server, name)
}

// runSQL runs the statements of a file.
func runSQL(t *testing.T, dsn, file string) {
	t.Helper()
	statements, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MultiStatements = true
	conn, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), string(statements)); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// texts are the rows of a query with one column.
func texts(t *testing.T, dsn, query string) (rows []string) {
	t.Helper()
	conn, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	result, err := conn.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	for result.Next() {
		var text string
		if err := result.Scan(&text); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, text)
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}
