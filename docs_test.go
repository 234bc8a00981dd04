package sesame_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// pages are the texts for people, by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	applications, err := filepath.Glob("docs/applications/*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, name := range append(slices.Concat(names, applications), "README.md", "CHANGELOG.md", "SECURITY.md") {
		texts[name] = readFile(t, name)
	}
	return texts
}

// guides are the pages of docs/ and SECURITY.md.
func guides(t *testing.T) map[string]string {
	t.Helper()
	texts := pages(t)
	delete(texts, "README.md")
	delete(texts, "CHANGELOG.md")
	return texts
}

// TestDocsCaddyfiles loads every Caddyfile of the guides: the database answers
// as the text says it does, and the handlers are provisioned.
func TestDocsCaddyfiles(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.addRights(t)
		// The view that docs/mysql.md makes.
		db.mustExec(t, "CREATE VIEW gateway_user AS SELECT id, username, email, password, is_active FROM auth_user")
		t.Cleanup(func() { db.mustExec(t, "DROP VIEW gateway_user") })
		// The other tables and the other key that docs/tables.md reads.
		db.mustExec(t, "CREATE TABLE accounts_customer (id int PRIMARY KEY, email varchar(254) NOT NULL, password varchar(128) NOT NULL, last_login datetime(6), enabled tinyint NOT NULL, display_name varchar(50) NOT NULL)")
		db.mustExec(t, "CREATE TABLE people_person (id uuid PRIMARY KEY, login varchar(80) NOT NULL UNIQUE, mail varchar(254) NOT NULL, password varchar(128) NOT NULL, is_active tinyint NOT NULL)")
		db.addSessions(t)
		db.addSessionList(t)
		db.mustExec(t, "ALTER TABLE auth_user ADD COLUMN object_id char(24) NULL UNIQUE")
		t.Cleanup(func() {
			db.mustExec(t, "DROP TABLE accounts_customer, people_person")
			db.mustExec(t, "ALTER TABLE auth_user DROP COLUMN object_id")
		})
		for name, value := range map[string]string{
			"SESAME_DSN": db.dsn, "SESAME_FOLLOW_DSN": db.dsn, "DJANGO_SECRET_KEY": secretKey, "DJANGO_SECRET_KEY_OLD": "old " + secretKey,
			"ASSERTION_KEY": newAssertionKey(t), "ASSERTION_KEY_NEXT": newAssertionKey(t),
			"DJANGO_SECRET_KEY_NEW": "new " + secretKey, "SESAME_KEY": "key", "SMTP_PASSWORD": "secret", "SIMPLE_JWT_VERIFYING_KEY": publicKey(t),
		} {
			t.Setenv(name, value)
		}
		for page, text := range guides(t) {
			for _, caddyfile := range codeBlocks(text, "caddyfile") {
				caddyfile = onThisMachine(t, caddyfile)
				if err := tryCaddyfile(caddyfile); err != nil {
					t.Errorf("%s: %v in\n%s", page, err, caddyfile)
					continue
				}
				if err := caddy.Stop(); err != nil {
					t.Errorf("%s: stopping Caddy: %v", page, err)
				}
			}
		}
	})
}

// onThisMachine has a Caddyfile listen where tests may, and write there.
func onThisMachine(t *testing.T, caddyfile string) string {
	t.Helper()
	dir := t.TempDir()
	caddyfile = strings.ReplaceAll(caddyfile, "/var/log/caddy/", dir+"/")
	caddyfile = strings.ReplaceAll(caddyfile, "/run/caddy/", dir+"/")
	if strings.Contains(caddyfile, "/srv/logo.svg") {
		logo := filepath.Join(dir, "logo.svg")
		if err := os.WriteFile(logo, []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), 0o600); err != nil {
			t.Fatal(err)
		}
		caddyfile = strings.ReplaceAll(caddyfile, "/srv/logo.svg", logo)
	}
	global := "\tdefault_bind 127.0.0.1\n\thttp_port " + portOf(freeAddr(t)) + "\n\thttps_port " + portOf(freeAddr(t)) + "\n" +
		"\tpersist_config off\n\tauto_https off\n" + discardedLog
	if !strings.Contains(caddyfile, "\tadmin ") {
		global += "\tadmin off\n"
	}
	if strings.Contains(caddyfile, "\tlog {") && strings.HasPrefix(caddyfile, "{\n") {
		global = strings.Replace(global, discardedLog, "", 1)
	}
	if rest, ok := strings.CutPrefix(caddyfile, "{\n"); ok {
		return "{\n" + global + rest
	}
	return "{\n" + global + "}\n\n" + caddyfile
}

// discardedLog keeps Caddy's own log out of the tests' output.
const discardedLog = "\tlog default {\n\t\toutput discard\n\t}\n"

// TestDocsLinks follows the links between the texts.
func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for page, text := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			if strings.Contains(match[1], ":") {
				continue // elsewhere
			}
			name, anchor, hasAnchor := strings.Cut(match[1], "#")
			target := page
			if name != "" {
				target = filepath.Join(filepath.Dir(page), name)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, match[1])
				continue
			}
			if hasAnchor && !slices.Contains(anchors(readFile(t, target)), anchor) {
				t.Errorf("%s: %s has no heading for the link to #%s", page, target, anchor)
			}
		}
	}
}

// withoutCode is a text without its code blocks and code in lines.
func withoutCode(text string) string {
	var b strings.Builder
	inCode := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			inCode = !inCode
			continue
		}
		if !inCode {
			b.WriteString(line)
		}
	}
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllStringFunc(b.String(), func(code string) string {
		// A heading with code in it keeps the code's letters, and no code has a link.
		return strings.NewReplacer("`", "", "](", "").Replace(code)
	})
}

// anchors are those of a text's headings, as GitHub makes them.
func anchors(text string) []string {
	var names []string
	for line := range strings.Lines(withoutCode(text)) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return names
}

// sesameCommands are the commands below `caddy sesame`, by name.
func sesameCommands(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	registered, ok := caddycmd.Commands()["sesame"]
	if !ok {
		t.Fatal("caddy has no command sesame")
	}
	parent := new(cobra.Command)
	registered.CobraFunc(parent)
	commands := make(map[string]*cobra.Command)
	for _, command := range parent.Commands() {
		commands[command.Name()] = command
	}
	return commands
}

// TestDocsCommands looks for commands and flags that don't exist.
func TestDocsCommands(t *testing.T) {
	commands := sesameCommands(t)
	named := regexp.MustCompile("caddy sesame ([a-z][a-z-]*)([^`\n|;]*)")
	flag := regexp.MustCompile(`(?:^| )--([a-z-]+)`)
	for page, text := range guides(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			command, ok := commands[match[1]]
			if !ok {
				t.Errorf("%s: there is no command %q", page, match[0])
				continue
			}
			for _, flag := range flag.FindAllStringSubmatch(match[2], -1) {
				if command.Flags().Lookup(flag[1]) == nil {
					t.Errorf("%s: %s has no flag --%s", page, match[1], flag[1])
				}
			}
		}
	}
}

// TestSecurityTests looks for the tests that SECURITY.md names.
func TestSecurityTests(t *testing.T) {
	written := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(readFile(t, path), -1) {
			written[match[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z0-9]\\w*)`").FindAllStringSubmatch(readFile(t, "SECURITY.md"), -1)
	if len(named) == 0 {
		t.Error("SECURITY.md names no test")
	}
	for _, match := range named {
		if !written[match[1]] {
			t.Errorf("SECURITY.md names %s, which doesn't exist", match[1])
		}
	}
}

// TestFuzzTargetsAreDocumented compares the targets with the table of docs/testing.md,
// which names the package of each but those of the root.
func TestFuzzTargetsAreDocumented(t *testing.T) {
	_, section, _ := strings.Cut(readFile(t, "docs/testing.md"), "\n## Fuzzing\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented, written []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`Fuzz.*?`)(?: in `([^`]+)`)? \\|").FindAllStringSubmatch(section, -1) {
		for name := range strings.SplitSeq(strings.ReplaceAll(row[1], "`", ""), ", ") {
			if row[2] != "" {
				name += " in " + row[2]
			}
			documented = append(documented, name)
		}
	}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != ".":
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		for _, match := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllStringSubmatch(readFile(t, path), -1) {
			name := match[1]
			if dir := filepath.ToSlash(filepath.Dir(path)); dir != "." {
				name += " in " + dir
			}
			written = append(written, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(documented)
	slices.Sort(written)
	if len(written) == 0 || !slices.Equal(documented, written) {
		t.Errorf("docs/testing.md names the fuzz targets\n%s\nand there are\n%s", strings.Join(documented, "\n"), strings.Join(written, "\n"))
	}
}

// TestGrants follows docs/mysql.md: an account with exactly these privileges can
// start, serve, log in and use tokens up, and that an account with fewer can't.
func TestGrants(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		text := readFile(t, "docs/mysql.md")
		readOnly, writing := grantsOf(t, text, "## The account", "auth_user")
		viewOnly, viewWriting := grantsOf(t, text, "## A view for another table", "gateway_user")
		if len(readOnly) != 1 || len(writing) != 1 || len(viewOnly) != 1 || len(viewWriting) != 1 {
			t.Fatalf("the page grants %q, %q, %q and %q", readOnly, writing, viewOnly, viewWriting)
		}
		create := codeBlocks(section(t, text, "## A view for another table"), "sql")[0]
		db.mustExec(t, strings.NewReplacer("app.", "django.", " AND is_staff", "").Replace(create))
		db.mustExec(t, revocationsTable)
		t.Cleanup(func() {
			db.mustExec(t, "DROP VIEW gateway_user")
			db.mustExec(t, "DROP TABLE sesame_revocations")
		})
		revocations, _ := grantsOf(t, text, "## The account", "sesame_revocations")
		db.addSessionList(t)
		listed := slices.Concat(readOnly, writing, rightsGrantsOf(t, text, "sesame_session "))
		groups := slices.Concat(readOnly, rightsGrantsOf(t, text, "auth_group "))
		permissions := slices.Concat(groups, rightsGrantsOf(t, text, "auth_permission "))

		for _, test := range []struct {
			name    string
			grants  []string
			options string
			store   string
			refused string // what the error says, or empty
		}{
			{"read only", readOnly, "max_age 10m", "", ""},
			{"a session that writes nothing", readOnly, "max_age 10m\nsession {\n\tupdate_last_login off\n}", "", ""},
			{"one-time tokens", slices.Concat(readOnly, writing), "max_age 10m\none_time", "", ""},
			{"sessions", slices.Concat(readOnly, writing), "max_age 10m\nsession", "", ""},
			{"sessions in a table", listed, "max_age 10m\nsession {\n\ttable sesame_session\n}", "", ""},
			{"sessions in a table without the right to write there", listed[:len(listed)-1], "max_age 10m\nsession {\n\ttable sesame_session\n}", "", "\"sesame_session\""},
			{"one-time tokens without the right to write", readOnly, "max_age 10m\none_time", "", "last_login"},
			{"sessions without the right to write", readOnly, "max_age 10m\nsession", "", "last_login"},
			{"revoked tokens", slices.Concat(readOnly, revocations), "max_age 10m", "revocations sesame_revocations", ""},
			{"revoked tokens without the right to read them", readOnly, "max_age 10m", "revocations sesame_revocations", "revoked tokens"},
			{"groups", groups, "max_age 10m", "groups", ""},
			{"groups without the right to read them", readOnly, "max_age 10m", "groups", "groups: the dsn's user may not read table \"auth_user_groups\""},
			{"groups without the right to read their names", groups[:len(groups)-1], "max_age 10m", "groups", "\"auth_group\""},
			{"permissions", permissions, "max_age 10m", "groups\npermissions", ""},
			{"permissions, of groups that aren't told", permissions, "max_age 10m", "permissions", ""},
			{"permissions without the right to read all of it", permissions[:len(permissions)-1], "max_age 10m", "permissions", "\"django_content_type\""},
			{"without is_active", []string{strings.Replace(readOnly[0], ", is_active", "", 1)}, "max_age 10m", "", "is_active"},
			{"without password", []string{strings.Replace(readOnly[0], ", password", "", 1)}, "max_age 10m", "", "password"},
			{"without names", []string{strings.Replace(readOnly[0], "username, email, ", "", 1)}, "max_age 10m", "", ""},
			{"a view", viewOnly, "max_age 10m", "table gateway_user\nprimary_key id", ""},
			{"one-time tokens in a view", slices.Concat(viewOnly, viewWriting), "max_age 10m\none_time", "table gateway_user\nprimary_key id", ""},
			{"sessions in a view", slices.Concat(viewOnly, viewWriting), "max_age 10m\nsession", "table gateway_user\nprimary_key id", ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				db.reset(t)
				db.addRights(t)
				db.mustExec(t, "CREATE USER 'gateway'@'127.0.0.1' IDENTIFIED BY 'only for tests'")
				t.Cleanup(func() { db.mustExec(t, "DROP USER 'gateway'@'127.0.0.1'") })
				for _, grant := range test.grants {
					db.mustExec(t, grant)
				}
				limited := &database{name: db.name, dsn: mariadb.UserDSN("gateway", "only for tests", "django"), DB: db.DB}
				g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
				caddyfile := g.caddyfile(limited, up, site{options: test.options, store: test.store})
				if test.refused != "" {
					if err := tryCaddyfile(caddyfile); err == nil || !strings.Contains(err.Error(), test.refused) {
						t.Errorf("the error is %v, and doesn't name %s", err, test.refused)
					}
					return
				}
				loadCaddyfile(t, caddyfile)
				serveOnce(t, g, up, test.options)
			})
		}
	})
}

// grantsOf are the statements of a section for reading a table and for writing
// to it, for the tests' account and database. Those for more columns aren't
// among them.
func grantsOf(t testing.TB, text, heading, table string) (reading, writing []string) {
	t.Helper()
	replacer := strings.NewReplacer("app.", "django.", "10.0.0.%", "127.0.0.1")
	for _, block := range codeBlocks(section(t, text, heading), "sql") {
		switch {
		case !strings.HasPrefix(block, "GRANT ") || !strings.Contains(block, "app."+table) || strings.HasPrefix(block, "GRANT UPDATE (password)"):
		case strings.Contains(block, "UPDATE (last_login)"):
			writing = append(writing, replacer.Replace(block))
		case strings.Contains(block, "password") || !strings.Contains(block, "("):
			reading = append(reading, replacer.Replace(block))
		}
	}
	return reading, writing
}

// rightsGrantsOf are the statements for the tables of groups or permissions, of
// which one is named.
func rightsGrantsOf(t testing.TB, text, table string) []string {
	t.Helper()
	for _, block := range codeBlocks(section(t, text, "## The account"), "sql") {
		if strings.Contains(block, " ON app."+table) {
			return strings.Split(strings.TrimSpace(strings.NewReplacer("app.", "django.", "10.0.0.%", "127.0.0.1").Replace(block)), "\n")
		}
	}
	t.Fatalf("the page grants nothing on %s", table)
	return nil
}

// revocationsTable makes the table of revoked tokens.
const revocationsTable = `CREATE TABLE sesame_revocations (
	user_key varbinary(255) NOT NULL,
	fingerprint varbinary(10) NOT NULL,
	revoked datetime NOT NULL,
	expires datetime NULL,
	PRIMARY KEY (user_key, fingerprint)
)`

// serveOnce sends a token twice. The second time is rejected if the token is for one
// use.
func serveOnce(t *testing.T, g *gateway, up *upstream, options string) {
	t.Helper()
	changes := []func(*token.Settings){withMaxAge(10 * time.Minute)}
	once := strings.Contains(options, "one_time")
	if once {
		changes = append(changes, oneTime)
	}
	link := "/?sesame=" + tokenFor(t, alice, changes...)
	want := http.StatusOK
	if strings.Contains(options, "session") {
		want = http.StatusSeeOther
	}
	answer := g.get(t, link)
	answer.wantStatus(t, want)
	if want == http.StatusSeeOther {
		g.get(t, "/", "Cookie", sessionCookie(t, answer)).wantStatus(t, http.StatusOK)
	}
	if user := up.takeOne(t).header.Get("Remote-User"); user == "" {
		t.Error("the upstream isn't told the user")
	}
	if once {
		g.get(t, link).wantStatus(t, http.StatusUnauthorized)
	}
	if strings.Contains(string(g.log(t)), "could not be written") {
		t.Error("last_login could not be written")
	}
}
