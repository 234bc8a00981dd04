package settings_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile" // the adapter
	"github.com/go-sql-driver/mysql"

	sesame "github.com/caddy-sesame/caddy-sesame"
	"github.com/caddy-sesame/caddy-sesame/django/settings"
)

// database is a DATABASES that fits.
const database = `DATABASES = {'default': {'ENGINE': 'django.db.backends.mysql', 'NAME': 'app', 'USER': 'django', 'PASSWORD': 'hush', 'HOST': 'db', 'PORT': '3307', 'OPTIONS': {'ssl': {'ca': '/etc/ca.pem'}}}}
`

// ours is how the store comes out for it.
const ours = "\tuserstore mysql {\n\t\tdsn django:{env.DJANGO_DB_PASSWORD}@tcp(db:3307)/app\n\t\ttls_ca /etc/ca.pem\n\t}\n}\n"

func read(t *testing.T, printed string) *settings.Project {
	t.Helper()
	project, err := settings.Read(strings.NewReader(printed))
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// adapted has Caddy read a block.
func adapted(t *testing.T, block string) *sesame.Handler {
	t.Helper()
	caddyfile := "http://localhost {\n" + block + "}\n"
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, caddyfile)
	}
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "caddy fmt") {
			t.Errorf("line %d: %s in\n%s", warning.Line, warning.Message, caddyfile)
		}
	}
	var parsed any
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	raw := findHandler(parsed)
	if raw == nil {
		t.Fatalf("no handler in %s", config)
	}
	delete(raw, "handler")
	encoded, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	handler := new(sesame.Handler)
	if err := json.Unmarshal(encoded, handler); err != nil {
		t.Fatal(err)
	}
	return handler
}

// findHandler looks for the sesame handler in a configuration.
func findHandler(config any) map[string]any {
	switch config := config.(type) {
	case map[string]any:
		if config["handler"] == "sesame" {
			return config
		}
		for _, value := range config {
			if found := findHandler(value); found != nil {
				return found
			}
		}
	case []any:
		for _, value := range config {
			if found := findHandler(value); found != nil {
				return found
			}
		}
	}
	return nil
}

// begin is how blocks come out for DATABASES and a key.
const begin = "sesame {\n\tsecret_key {env.DJANGO_SECRET_KEY}\n"

// blocks are what comes of settings.
var blocks = map[string]struct {
	settings string
	want     string
	notes    []string // the settings that notes are about
	env      []string
}{
	"defaults": {
		"### USE_TZ = True\nSECRET_KEY = 'hush'\n" + database,
		begin + ours, nil, nil,
	},
	"USE_TZ isn't known": {
		"SECRET_KEY = 'hush'\n" + database,
		begin + ours,
		[]string{"USE_TZ"},
		nil,
	},
	"all of django-sesame's": {
		"SECRET_KEY = 'hush'\nSECRET_KEY_FALLBACKS = ['hush1', 'hush2']\nUSE_TZ = False\nTIME_ZONE = 'Europe/Paris'\n" +
			"SESAME_TOKEN_NAME = 'url_auth_token'  ###\nSESAME_MAX_AGE = datetime.timedelta(days=1, seconds=30, microseconds=500000)  ###\n" +
			"SESAME_ONE_TIME = True  ###\nSESAME_INVALIDATE_ON_PASSWORD_CHANGE = False  ###\nSESAME_INVALIDATE_ON_EMAIL_CHANGE = True  ###\n" +
			"SESAME_PACKER = 'sesame.packers.UnsignedLongPacker'  ###\nSESAME_PRIMARY_KEY_FIELD = 'number'  ###\nSESAME_KEY = 'hush3'  ###\n" +
			"SESAME_SIGNATURE_SIZE = 20  ###\nSESAME_SALT = 'pep per'  ###\nSESAME_DIGEST = <built-in function openssl_sha256>  ###\n" +
			"SESAME_ITERATIONS = 20000  ###\nSESAME_TOKENS = ['sesame.tokens_v1', 'sesame.tokens_v2']  ###\n" + database,
		begin + "\tsecret_key_fallbacks {env.DJANGO_SECRET_KEY_FALLBACK_1} {env.DJANGO_SECRET_KEY_FALLBACK_2}\n\tkey {env.SESAME_KEY}\n" +
			"\ttoken_name url_auth_token\n\tmax_age 86430.5\n\tone_time\n\tinvalidate_on_password_change off\n\tinvalidate_on_email_change\n" +
			"\tpacker sesame.packers.UnsignedLongPacker\n\tprimary_key_field number\n\ttokens v1 v2\n\tsignature_size 20\n\titerations 20000\n\tsalt `pep per`\n\tdigest sha256\n" +
			"\tuse_tz off\n\ttime_zone Europe/Paris\n" + ours,
		[]string{"SESAME_ONE_TIME"},
		[]string{"DJANGO_SECRET_KEY_FALLBACK_1", "DJANGO_SECRET_KEY_FALLBACK_2", "SESAME_KEY"},
	},
	"django-sesame's defaults, written out": {
		"USE_TZ = True\nSECRET_KEY = 'hush'\nSESAME_TOKEN_NAME = 'sesame'\nSESAME_MAX_AGE = None\nSESAME_ONE_TIME = False\nSESAME_INVALIDATE_ON_PASSWORD_CHANGE = True\n" +
			"SESAME_PACKER = None\nSESAME_PRIMARY_KEY_FIELD = 'pk'\nSESAME_TOKENS = ['sesame.tokens_v2', 'sesame.tokens_v1']\nSESAME_KEY = ''\nSESAME_SIGNATURE_SIZE = 10\n" +
			"SESAME_SALT = 'sesame'\nSESAME_DIGEST = <built-in function openssl_md5>\nSESAME_ITERATIONS = 10000\nSECRET_KEY_FALLBACKS = []\nAUTH_USER_MODEL = 'auth.User'\n" + database,
		begin + ours, nil, nil,
	},
	"unified": {
		"- SECRET_KEY = ''\n+ SECRET_KEY = 'hush'\n- USE_TZ = False\n+ USE_TZ = True\n+ SESAME_MAX_AGE = 600\n- DATABASES = {}\n+ " + database,
		begin + "\tmax_age 600\n" + ours, nil, nil,
	},
	"unified, in colour": {
		"\x1b[31;1m- SECRET_KEY = ''\x1b[0m\n\x1b[32;1m+ SECRET_KEY = 'hush'\x1b[0m\n  USE_TZ = True\n\x1b[32;1m+ " + strings.TrimSpace(database) + "\x1b[0m\n",
		begin + ours, nil, nil,
	},
	"what can't be carried over": {
		"USE_TZ = True\nSECRET_KEY = b'hush'\nSESAME_PACKER = 'crew.packers.P'\nSESAME_TOKENS = ['sesame.tokens_v2', 'crew.tokens']\nSESAME_SALT = ''\n" +
			"SESAME_DIGEST = <function f at 0x7f>\nAUTHENTICATION_BACKENDS = ['django.contrib.auth.backends.ModelBackend']\nLOGIN_REDIRECT_URL = '/home'\nSESSION_COOKIE_AGE = 86400\n" +
			"MIDDLEWARE = ['sesame.middleware.AuthenticationMiddleware']\n" + database,
		begin + "\tpacker crew.packers.P\n\t# packer_encoding hex:24\n\ttokens v2\n" + strings.TrimSuffix(ours, "}\n") +
			"\t# Django logs users in who come with a token; for the same here:\n\t# session\n\t# Django's sessions last 86400s (SESSION_COOKIE_AGE); the gateway's, with session, by its option max_age.\n}\n",
		[]string{
			"SECRET_KEY", "SESAME_PACKER", "SESAME_TOKENS", "SESAME_SALT", "SESAME_DIGEST", "AUTHENTICATION_BACKENDS",
			"MIDDLEWARE", "LOGIN_REDIRECT_URL",
		},
		nil,
	},
	"a key that is None is signed as a word": {
		"USE_TZ = True\nSECRET_KEY = 'hush'\nSESAME_KEY = None\n" + database,
		begin + "\tkey None\n" + ours, nil, nil,
	},
	"JSON": {
		`6 objects imported automatically.
{"django_project": 3, "django": "5.2", "settings": {"USE_TZ": true, "SECRET_KEY": {"@secret": "str"}, "SESAME_MAX_AGE": 600.0, "SESAME_DIGEST": {"@callable": "openssl_sha1"}, "SESAME_PRIMARY_KEY_FIELD": "number"}, "databases": {"reads": [], "write": {"alias": "users", "settings": {"ENGINE": "django.db.backends.mysql", "NAME": "app", "USER": "django", "PASSWORD": {"@secret": "str"}, "HOST": "db", "PORT": 3307, "OPTIONS": {"ssl_ca": "/etc/ca.pem"}}}}, "user": {"table": ["other", "ship's.crew"], "computed": ["is_staff"], "view": null, "undecided": [], "notes": [{"setting": "AUTH_USER_MODEL", "text": "x"}], "groups": {"table": ["other", "crew_groups"], "user": "member_id", "other": "group_id", "names": ["auth_group"]}, "permissions": {"table": ["other", "crew_rights"], "user": "member_id", "other": "permission_id", "names": ["auth_permission"]}, "columns": {"primary_key": {"column": "no", "table": ["crew"], "type": "PositiveIntegerField"}, "password": {"column": "hash", "table": ["crew"]}, "last_login": {"column": "last_login", "table": ["crew"]}, "is_active": null, "email": null, "username": {"column": "login", "table": ["crew"]}, "is_superuser": {"column": "root", "table": ["crew"]}}}}`,
		begin + "\tmax_age 600\n\tpacker_encoding UnsignedLongPacker\n\tprimary_key_field number\n\tdigest sha1\n" +
			strings.Replace(ours, "\t}\n", "\t\ttable \"other.`ship's.crew`\"\n\t\tprimary_key no\n\t\tpassword hash\n\t\tis_active -\n\t\temail -\n\t\tusername login\n\t\tis_superuser root\n\t\tis_staff -\n"+
				"\t\t# groups other.crew_groups member_id group_id app.auth_group id name\n\t\t# permissions other.crew_rights member_id\n\t}\n", 1),
		[]string{"AUTH_USER_MODEL", "AUTH_USER_MODEL"},
		nil,
	},
}

func TestSettingsBecomeABlockOrAreUndecided(t *testing.T) {
	t.Parallel()
	for name, test := range blocks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var block strings.Builder
			report, err := read(t, test.settings).Caddyfile(&block)
			if err != nil {
				t.Fatal(err)
			}
			if got := block.String(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			var about []string
			for _, note := range slices.Concat(report.Notes, report.Undecided) {
				if !strings.HasPrefix(note.Setting, "DATABASES") {
					about = append(about, note.Setting)
				}
			}
			if !slices.Equal(about, test.notes) {
				t.Errorf("notes about %q, want %q", about, test.notes)
			}
			want := append([]string{"DJANGO_SECRET_KEY"}, append(test.env, "DJANGO_DB_PASSWORD")...)
			var names []string
			for _, variable := range report.Env {
				names = append(names, variable.Name)
			}
			if !slices.Equal(names, want) {
				t.Errorf("environment %q, want %q", names, want)
			}
			if shown := fmt.Sprint(block.String(), *report); strings.Contains(shown, "hush") {
				t.Errorf("a secret is shown: %s", shown)
			}
			if !slices.Contains(test.notes, "SESAME_PACKER") { // it doesn't load without packer_encoding
				adapted(t, block.String())
			}
		})
	}
}

func TestCaddyfileRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ settings, want string }{
		"another database":                  {"DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': 'x'}}", "MySQL or MariaDB only"},
		"no database":                       {"DATABASES = {}", "there is no default database"},
		"no DATABASES":                      {"", "give the output of diffsettings --all"},
		"no name":                           {"DATABASES = {'default': {'ENGINE': 'django.db.backends.mysql'}}", "it is empty"},
		"a port that is none":               {"DATABASES = {'default': {'ENGINE': 'django.db.backends.mysql', 'NAME': 'x', 'PORT': 'x'}}", "is no port"},
		"no max_age":                        {"SESAME_INVALIDATE_ON_PASSWORD_CHANGE = False", "SESAME_MAX_AGE isn't set"},
		"max_age of 0":                      {"SESAME_MAX_AGE = 0", "every token has expired"},
		"max_age of text":                   {"SESAME_MAX_AGE = 'x'", "a number of seconds"},
		"odd timedelta":                     {"SESAME_MAX_AGE = datetime.timedelta(weeks=1)", "timedelta can't be read"},
		"unknown tokens":                    {"SESAME_TOKENS = ['crew.tokens']", "has none of django-sesame's modules"},
		"signature size":                    {"SESAME_SIGNATURE_SIZE = 65", "not a number that django-sesame takes"},
		"odd switch":                        {"SESAME_ONE_TIME = <x>", "it must be True or False"},
		"odd packer":                        {"SESAME_PACKER = 1", "it must be a string"},
		"odd model":                         {database + "AUTH_USER_MODEL = 'Member'", "app.Model"},
		"one-time, of who knows which zone": {database + "SESAME_ONE_TIME = True", "diffsettings --all"},
		"placeholder":                       {"SESAME_SALT = '{host}'", "brace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var block strings.Builder
			_, err := read(t, "SECRET_KEY = 'hush'\n"+test.settings+"\n").Caddyfile(&block)
			if err == nil || !strings.Contains(err.Error(), test.want) || block.Len() > 0 {
				t.Errorf("error %v, want %q in it; wrote %s", err, test.want, block.String())
			}
		})
	}
	for _, input := range []string{"", "hello", "{}", `{"django_project": 1}`, `{"django_project": 3, `, "USE_TZ = True", "SECRET_KEY = ''"} {
		project, err := settings.Read(strings.NewReader(input))
		if err == nil {
			_, err = project.Caddyfile(new(strings.Builder))
		}
		if err == nil {
			t.Errorf("%q: no error", input)
		}
	}
}

// hostile are texts with a meaning in Caddyfiles.
var hostile = []string{
	"a b", `a"b`, "a`b", `a\`, `a\"b`, "a`\\", "a`b\"c", "`", `"`, "#x", "<<EOF", "<<EOF x", "a#b", "{", "}", "{$HOME}", "{env.HOME}", "{host}", `\{x}`,
	"a\nb", "a\n}\nrespond 1", "a\tb", "a\x00b", "ü €", "\u2028", "\ufeffx", "import x", "@x", "*", "'", "a;b", "$HOME", "a\\n", `\`, `\\`, "a`\\\\b", "-", "",
}

// TestHostileValues has values arrive as they are, or not at all.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	for _, value := range hostile {
		var block strings.Builder
		printed := "SECRET_KEY = 'hush'\nUSE_TZ = True\n" + database + "SESAME_SALT = " + python(value) + "\n"
		if _, err := read(t, printed).Caddyfile(&block); err != nil {
			if !strings.ContainsAny(value, "{}`\n\t\x00") {
				t.Errorf("%q: %v", value, err)
			}
			continue
		}
		if got := adapted(t, block.String()).Salt; got != value {
			t.Errorf("%q became %q", value, got)
		}
	}
}

func TestHostileDatabases(t *testing.T) {
	t.Parallel()
	for _, value := range hostile {
		if value == "" {
			continue
		}
		for _, part := range []string{"USER", "NAME"} {
			parts := map[string]string{"USER": "django", "NAME": "app", part: value}
			printed := fmt.Sprintf("SECRET_KEY = 'hush'\nUSE_TZ = True\nDATABASES = {'default': {'ENGINE': 'django.db.backends.mysql', 'HOST': '::1', 'PASSWORD': 'hush', 'USER': %s, 'NAME': %s}}\n",
				python(parts["USER"]), python(parts["NAME"]))
			var block strings.Builder
			report, err := read(t, printed).Caddyfile(&block)
			if err != nil {
				t.Errorf("%s %q: %v", part, value, err)
				continue
			}
			handler := adapted(t, block.String())
			if report.Env[1].Name == "SESAME_DSN" {
				if handler.UserStore.DSN != "{env.SESAME_DSN}" {
					t.Errorf("%s %q: DSN %q", part, value, handler.UserStore.DSN)
				}
				continue
			}
			cfg, err := mysql.ParseDSN(handler.UserStore.DSN)
			if err != nil || cfg.User != parts["USER"] || cfg.DBName != parts["NAME"] || cfg.Addr != "[::1]:3306" || cfg.Passwd != "{env.DJANGO_DB_PASSWORD}" {
				t.Errorf("%s %q: %+v, %v", part, value, cfg, err)
			}
		}
	}
}

// python writes a string as repr() may.
func python(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range s {
		fmt.Fprintf(&b, `\U%08x`, c)
	}
	b.WriteByte('\'')
	return b.String()
}

func TestDatabasesBecomeADSN(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ database, dsn string }{
		"by default":           {`'USER': 'u'`, "u@tcp(127.0.0.1:3306)/app"},
		"on this machine":      {`'USER': 'u', 'HOST': 'localhost', 'PORT': ''`, "u@tcp(127.0.0.1:3306)/app"},
		"no user":              {`'HOST': '127.0.0.1'`, "@tcp(127.0.0.1:3306)/app"},
		"a socket":             {`'USER': 'u', 'PASSWORD': 'hush', 'HOST': '/run/db.sock'`, "u:{env.DJANGO_DB_PASSWORD}@unix(/run/db.sock)/app"},
		"a socket in OPTIONS":  {`'USER': 'u', 'OPTIONS': {'unix_socket': PosixPath('/run/db.sock')}`, "u@unix(/run/db.sock)/app"},
		"OPTIONS override":     {`'USER': 'x', 'PASSWORD': None, 'OPTIONS': {'user': 'u', 'passwd': 'hush', 'host': 'h', 'port': 7, 'database': 'd'}`, "u:{env.DJANGO_DB_PASSWORD}@tcp(h:7)/d"},
		"IPv6":                 {`'USER': 'u', 'HOST': 'fe80::1'`, "u@tcp([fe80::1]:3306)/app"},
		"TLS required":         {`'USER': 'u', 'HOST': 'h', 'OPTIONS': {'ssl_mode': 'REQUIRED'}`, "u@tcp(h:3306)/app?tls=skip-verify"},
		"TLS verified":         {`'USER': 'u', 'HOST': 'h', 'OPTIONS': {'ssl_mode': 'VERIFY_CA'}`, "u@tcp(h:3306)/app?tls=true"},
		"TLS preferred":        {`'USER': 'u', 'HOST': 'h', 'OPTIONS': {'ssl_mode': 'PREFERRED'}`, "u@tcp(h:3306)/app?tls=preferred"},
		"TLS disabled":         {`'USER': 'u', 'HOST': 'h', 'OPTIONS': {'ssl_mode': 'DISABLED'}`, "u@tcp(h:3306)/app"},
		"TLS with an empty CA": {`'USER': 'u', 'HOST': 'h', 'OPTIONS': {'ssl': {}}`, "u@tcp(h:3306)/app?tls=true"},
		"other engines":        {`'USER': 'u', 'HOST': 'h', 'ENGINE': 'django_prometheus.db.backends.mysql'`, "u@tcp(h:3306)/app"},
		"an odd name":          {`'USER': 'u', 'HOST': 'h', 'NAME': 'a/b?c'`, "u@tcp(h:3306)/a%2Fb%3Fc"},
		"an odd password type": {`'USER': 'u', 'HOST': 'h', 'PASSWORD': <Lazy>`, "u:{env.DJANGO_DB_PASSWORD}@tcp(h:3306)/app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			printed := "SECRET_KEY = 'hush'\nUSE_TZ = True\nDATABASES = {'default': {'ENGINE': 'django.db.backends.mysql', 'NAME': 'app', " + test.database + "}}\n"
			var block strings.Builder
			report, err := read(t, printed).Caddyfile(&block)
			if err != nil {
				t.Fatal(err)
			}
			if got := adapted(t, block.String()).UserStore.DSN; got != test.dsn {
				t.Errorf("got %s, want %s", got, test.dsn)
			}
			if shown := fmt.Sprint(block.String(), *report); strings.Contains(shown, "hush") {
				t.Errorf("a secret is shown: %s", shown)
			}
		})
	}
}
