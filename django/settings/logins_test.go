package settings_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/settings"
)

// login is a project that lets users in, and the wanted result of its import.
type login struct {
	name     string
	settings string   // in Python
	needs    []string // Python modules that the project needs, besides Django
	want     string   // the lines for sessions, passwords and tokens of APIs
	report   []string // parts of the import's report
	env      []string // variables for secrets other than SECRET_KEY and the database's
}

// loginURL is the comment for LOGIN_URL as Django has it by default.
const loginURL = "\t\t# Where browsers without a session log in, LOGIN_URL as a whole URL:\n\t\t# login_url https://www.example.com/accounts/login/\n\t}\n"

var sessionLogins = []login{
	{
		name: "Django's defaults",
		want: "\tdjango_session {\n" + loginURL,
		report: []string{
			"{Setting:SESSION_COOKIE_DOMAIN Text:it isn't set",
		},
	},
	{
		name: "all settings of sessions",
		settings: `SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_COOKIE_NAME = "portal_session"
SESSION_COOKIE_DOMAIN = ".example.com"
SESSION_COOKIE_PATH = "/portal"
SESSION_COOKIE_AGE = 86400
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_SAVE_EVERY_REQUEST = True
LOGIN_URL = "https://www.example.com/login?from=portal"
`,
		want: "\tdjango_session {\n\t\tengine cached_db\n\t\tcookie_name portal_session\n\t\tcookie_domain .example.com\n\t\tcookie_path /portal\n" +
			"\t\tcookie_secure on\n\t\tcookie_samesite strict\n\t\tcookie_age 86400\n\t\texpire_at_browser_close on\n\t\ttouch 5m\n" +
			"\t\tlogin_url https://www.example.com/login?from=portal\n\t}\n",
		report: []string{"{Setting:SESSION_SAVE_EVERY_REQUEST Text:option touch needs the right", "{Setting:SESSION_ENGINE Text:the gateway reads the table of sessions, and not the cache"},
	},
	{
		name:     "sessions in cookies, and the login by the name of its URL",
		settings: "SESSION_ENGINE = 'django.contrib.sessions.backends.signed_cookies'\nSESSION_SAVE_EVERY_REQUEST = True\nLOGIN_URL = 'login'\n",
		want:     "\tdjango_session {\n\t\tengine signed_cookies\n" + strings.Replace(loginURL, "login/\n", "sign-in/\n", 1),
		report:   []string{"{Setting:SESSION_SAVE_EVERY_REQUEST Text:the gateway doesn't make cookies"},
	},
	{
		name:     "a model and a class of sessions of the project's",
		settings: "SESSION_ENGINE = 'portal.visits'\n",
		want:     "\tdjango_session {\n\t\ttable visits\n\t\tkey_salt django.contrib.sessions.Visits\n" + loginURL,
	},
	{
		name:     "sessions in another database of the same server",
		settings: "DATABASE_ROUTERS = ['portal.parts.Elsewhere']\n",
		want:     "\tdjango_session {\n\t\ttable sessions.django_session\n" + loginURL,
	},
	{
		name:     "sessions on another server",
		settings: "DATABASE_ROUTERS = ['portal.parts.FarAway']\n",
		report:   []string{`the table "django_session" is on another server than the users`},
	},
	{
		name: "backends, one of which decides by itself",
		settings: "AUTHENTICATION_BACKENDS = ['django.contrib.auth.backends.ModelBackend', 'portal.parts.Backend', 'portal.parts.Banning']\n" +
			"SESSION_SERIALIZER = 'portal.parts.Dates'\n",
		want:   "\tdjango_session {\n\t\tbackends django.contrib.auth.backends.ModelBackend portal.parts.Backend\n" + loginURL,
		report: []string{"sessions of users whom portal.parts.Banning has logged in aren't accepted", "portal.parts.Backend checks passwords by its own code"},
	},
	{
		name: "a backend that lets in users who aren't active, and one that doesn't",
		settings: "AUTHENTICATION_BACKENDS = ['django.contrib.auth.backends.AllowAllUsersModelBackend', 'django.contrib.auth.backends.ModelBackend']\n" +
			"REST_FRAMEWORK = {'DEFAULT_AUTHENTICATION_CLASSES': ['rest_framework.authentication.TokenAuthentication']}\nINSTALLED_APPS += ['rest_framework', 'rest_framework.authtoken']\n",
		needs:  []string{"rest_framework"},
		want:   "\tdjango_session {\n\t\tbackends django.contrib.auth.backends.AllowAllUsersModelBackend\n" + loginURL,
		report: []string{"whom django.contrib.auth.backends.ModelBackend has logged in aren't accepted: it lets in active users only", "tokens (drf) are accepted of active users only"},
	},
	{
		name:     "sessions in a cache alone",
		settings: "SESSION_ENGINE = 'django.contrib.sessions.backends.cache'\n",
		report:   []string{"{Setting:SESSION_ENGINE Text:django.contrib.sessions.backends.cache keeps sessions where the gateway can't read them"},
	},
	{
		name:     "sessions in files",
		settings: "SESSION_ENGINE = 'django.contrib.sessions.backends.file'\n",
		report:   []string{"{Setting:SESSION_ENGINE Text:django.contrib.sessions.backends.file keeps sessions where the gateway can't read them"},
	},
	{
		name:     "a class that reads sessions by its own code",
		settings: "SESSION_ENGINE = 'portal.decoding'\n",
		report:   []string{"{Setting:SESSION_ENGINE Text:portal.stores.Decoding reads sessions by its own decode"},
	},
	{
		name:     "a table whose columns have other names",
		settings: "SESSION_ENGINE = 'portal.renamedstore'\n",
		report:   []string{"the table of portal.models.Renamed has no column expire_date"},
	},
	{
		name:     "a manager that hides sessions",
		settings: "SESSION_ENGINE = 'portal.hiddenstore'\n",
		report:   []string{"which rows of portal.models.Hidden count is decided by its manager"},
	},
	{
		name:     "another serializer",
		settings: "SESSION_SERIALIZER = 'portal.parts.Pickles'\n",
		report:   []string{"{Setting:SESSION_SERIALIZER Text:portal.parts.Pickles isn't Django's JSONSerializer"},
	},
	{
		name:     "a middleware that chooses the user",
		settings: "MIDDLEWARE[1] = 'portal.parts.Impersonating'\n",
		report:   []string{"{Setting:MIDDLEWARE Text:portal.parts.Impersonating decides by its own code whose session a request has"},
	},
	{
		name:     "a user model that ends sessions by its own code",
		settings: "AUTH_USER_MODEL = 'portal.Member'\n",
		report:   []string{"{Setting:AUTH_USER_MODEL Text:the user model has its own get_session_auth_hash: the gateway can't accept"},
	},
	{
		name:     "no sessions",
		settings: "MIDDLEWARE = []\n",
	},
}

// passwordComment is how the lines for passwords begin, and noFactors how they
// end where there are no second factors.
const (
	passwordComment = "\t# Passwords can be accepted, too, from programs by Authorization: Basic. That is a\n" +
		"\t# way in that Django may not have. To open it, remove the # in front of these lines:\n\t# password {\n\t# \tbasic on\n"
	noFactors = "\t# \t# The project has neither django-otp nor allauth.mfa: there are no second factors to look for.\n\t# \tsecond_factor ignore\n\t# }\n"
)

var passwordLogins = []login{
	{name: "Django's defaults", want: passwordComment + "VERSION" + noFactors},
	{
		name: "hashers, some of them of the project's",
		settings: "PASSWORD_HASHERS = ['portal.parts.Slow', 'django.contrib.auth.hashers.PBKDF2PasswordHasher', 'portal.parts.Peppered', 'django.contrib.auth.hashers.Argon2PasswordHasher', 'portal.parts.Backend', 'nowhere.Hasher',\n" +
			" 'django.contrib.auth.hashers.BCryptPasswordHasher']\n",
		want: passwordComment + "\t# \thashers pbkdf2_sha256 argon2 bcrypt\nVERSION" + noFactors,
		report: []string{
			`{Setting:PASSWORD_HASHERS Text:"portal.parts.Slow" makes hashes with other parameters than Django's (iterations)`,
			`can't check the hashes that "portal.parts.Peppered" makes`, `can't check the hashes that "nowhere.Hasher" makes`,
		},
	},
	{
		name:     "second factors of django-otp",
		settings: "INSTALLED_APPS += ['django_otp', 'django_otp.plugins.otp_totp', 'django_otp.plugins.otp_static']\n",
		needs:    []string{"django_otp"},
		want: passwordComment + "VERSION\t# \t# A password alone isn't enough for users who have a confirmed device in\n\t# \t# otp_static_staticdevice\n\t# \t# otp_totp_totpdevice\n" +
			"\t# \t# so that these are rejected: the default is second_factor reject.\n\t# }\n",
	},
	{
		name:     "devices of the project's own",
		settings: "INSTALLED_APPS += ['django_otp', 'portal.pager']\n",
		needs:    []string{"django_otp"},
		want: passwordComment + "VERSION\t# \t# A password alone isn't enough for users who have a confirmed device in\n\t# \t# pager_pager\n" +
			"\t# \t# so that these are rejected: the default is second_factor reject.\n\t# }\n",
		report: []string{`{Setting:INSTALLED_APPS Text:the devices in "pager_pager" are second factors that the gateway doesn't know`},
	},
	{
		name:     "second factors that aren't known",
		settings: "import sys, types\nsys.modules['portal_mfa'] = module = types.ModuleType('portal_mfa')\nmodule.__path__ = ['/nowhere']\nINSTALLED_APPS += ['portal_mfa']\n",
		want:     passwordComment + "VERSION\t# \t# The project may ask for second factors that the gateway doesn't know.\n\t# }\n",
		report:   []string{`{Setting:INSTALLED_APPS Text:"portal_mfa" may ask users for a second factor`},
	},
	{
		name: "users who log in by their e-mail address, and second factors of allauth",
		settings: "INSTALLED_APPS += ['allauth', 'allauth.account', 'allauth.mfa']\nACCOUNT_LOGIN_METHODS = {'email'}\nMIDDLEWARE += ['allauth.account.middleware.AccountMiddleware']\n" +
			"AUTHENTICATION_BACKENDS = ['django.contrib.auth.backends.ModelBackend', 'allauth.account.auth_backends.AuthenticationBackend']\n",
		needs: []string{"allauth.mfa"},
		want: strings.Replace(passwordComment, "basic on\n", "basic on\n\t# \tidentifier username email\n", 1) + "VERSION\t# \t# A password alone isn't enough for users who have a confirmed device in\n\t# \t# mfa_authenticator\n" +
			"\t# \t# so that these are rejected: the default is second_factor reject.\n\t# }\n",
	},
	{
		name:     "passwords that no backend of Django's checks",
		settings: "AUTHENTICATION_BACKENDS = ['portal.parts.Backend']\n",
		report:   []string{"portal.parts.Backend checks passwords by its own code"},
	},
}

// someViews is the comment for tokens that only some views accept.
const someViews = "\t# Some views of the project accept these tokens, and others don't. To accept them in\n\t# all requests, remove the #:\n"

// rest is the setting of Django REST framework for classes that authenticate.
func rest(classes ...string) string {
	return "INSTALLED_APPS += ['rest_framework', 'rest_framework.authtoken']\nREST_FRAMEWORK = {'DEFAULT_AUTHENTICATION_CLASSES': ['" + strings.Join(classes, "', '") + "']}\n"
}

const jwt = "rest_framework_simplejwt.authentication.JWTAuthentication"

var apiLogins = []login{
	{
		name:     "tokens of rest_framework",
		settings: rest("rest_framework.authentication.TokenAuthentication", "rest_framework.authentication.SessionAuthentication", "portal.api.BearerAuthentication", "portal.api.KeyAuthentication"),
		needs:    []string{"rest_framework"},
		want:     "\tapi_token drf\n\tapi_token drf {\n\t\tkeyword Bearer\n\t}\n",
		report:   []string{"portal.api.KeyAuthentication authenticates by its own code"},
	},
	{
		name:     "tokens that one view accepts",
		settings: rest("rest_framework.authentication.SessionAuthentication") + "PORTAL_REPORTS = ['BearerAuthentication']\n",
		needs:    []string{"rest_framework"},
		want:     someViews + "\t# api_token drf {\n\t# \tkeyword Bearer\n\t# }\n",
	},
	{
		name:     "tokens of an application that isn't installed",
		settings: rest("rest_framework.authentication.TokenAuthentication") + "INSTALLED_APPS.remove('rest_framework.authtoken')\n",
		needs:    []string{"rest_framework"},
		report:   []string{"rest_framework.authtoken isn't installed"},
	},
	{
		name:     "SimpleJWT",
		settings: rest(jwt),
		needs:    []string{"rest_framework_simplejwt"},
		want:     "\tapi_token simplejwt\n",
	},
	{
		name: "all settings of SimpleJWT",
		settings: rest(jwt) + `import datetime
INSTALLED_APPS += ["rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist"]
SIMPLE_JWT = {
    "ALGORITHM": "HS512", "SIGNING_KEY": "hush-jwt", "AUDIENCE": ["portal", "reports"], "ISSUER": "https://id.example.com", "LEEWAY": datetime.timedelta(seconds=5),
    "AUTH_HEADER_TYPES": ("Bearer", "JWT"), "USER_ID_FIELD": "username", "USER_ID_CLAIM": "sub", "TOKEN_TYPE_CLAIM": None, "JTI_CLAIM": "id",
    "AUTH_TOKEN_CLASSES": ("rest_framework_simplejwt.tokens.SlidingToken",),
}
`,
		needs: []string{"rest_framework_simplejwt"},
		want: "\tapi_token simplejwt {\n\t\talgorithm HS512\n\t\tsigning_key {env.SIMPLE_JWT_SIGNING_KEY}\n\t\taudience portal reports\n\t\tissuer https://id.example.com\n\t\theader_types Bearer JWT\n" +
			"\t\tuser_id_claim sub\n\t\tjti_claim id\n\t\tuser_id_field username\n\t\ttoken_types sliding\n\t\ttoken_type_claim -\n\t\tleeway 5s\n\t\tblacklist\n\t}\n",
		env: []string{"SIMPLE_JWT_SIGNING_KEY"},
	},
	{
		name:     "SimpleJWT with a public key",
		settings: rest(jwt) + "SIMPLE_JWT = {'ALGORITHM': 'RS256', 'SIGNING_KEY': 'hush-private', 'VERIFYING_KEY': 'hush-public'}\n",
		needs:    []string{"rest_framework_simplejwt"},
		want:     "\tapi_token simplejwt {\n\t\talgorithm RS256\n\t\tverifying_key {env.SIMPLE_JWT_VERIFYING_KEY}\n\t}\n",
		env:      []string{"SIMPLE_JWT_VERIFYING_KEY"},
	},
	{
		name:     "SimpleJWT with what the gateway can't do",
		settings: rest(jwt, "portal.api.CookieAuthentication") + "SIMPLE_JWT = {'JWK_URL': 'https://id.example.com/jwks'}\n",
		needs:    []string{"rest_framework_simplejwt"},
		report:   []string{"{Setting:SIMPLE_JWT Text:JWK_URL: the gateway fetches no keys", "portal.api.CookieAuthentication authenticates by its own code"},
	},
	{
		name:     "SimpleJWT in another header",
		settings: rest(jwt) + "SIMPLE_JWT = {'AUTH_HEADER_NAME': 'HTTP_X_ACCESS_TOKEN'}\n",
		needs:    []string{"rest_framework_simplejwt"},
		report:   []string{"{Setting:SIMPLE_JWT Text:AUTH_HEADER_NAME: the gateway looks for tokens in Authorization only"},
	},
	{
		name:     "knox",
		settings: rest("knox.auth.TokenAuthentication") + "INSTALLED_APPS += ['knox']\n",
		needs:    []string{"knox"},
		want:     "\tapi_token knox {\n\t\tgeneration 5\n\t}\n",
	},
	{
		name: "all settings of knox",
		settings: rest("knox.auth.TokenAuthentication") + "import datetime\nINSTALLED_APPS += ['knox']\n" +
			"REST_KNOX = {'AUTH_HEADER_PREFIX': 'Knox', 'AUTO_REFRESH': True, 'TOKEN_TTL': datetime.timedelta(hours=1), 'MIN_REFRESH_INTERVAL': 300, 'AUTO_REFRESH_MAX_TTL': datetime.timedelta(days=1)}\n",
		needs:  []string{"knox", "knox.migrations.0009_extend_authtoken_field"},
		want:   "\tapi_token knox {\n\t\tprefix Knox\n\t\tgeneration 5\n\t\tauto_refresh on\n\t\ttoken_ttl 3600s\n\t\tmin_refresh_interval 300s\n\t\tmax_ttl 86400s\n\t}\n",
		report: []string{"{Setting:REST_KNOX Text:AUTO_REFRESH: the gateway needs the right to update expiry"},
	},
	{
		name:     "knox with another digest",
		settings: rest("knox.auth.TokenAuthentication") + "INSTALLED_APPS += ['knox']\nREST_KNOX = {'SECURE_HASH_ALGORITHM': 'portal.api.sha256'}\n",
		needs:    []string{"knox"},
		report:   []string{"{Setting:REST_KNOX Text:its SECURE_HASH_ALGORITHM isn't SHA-512"},
	},
}

// TestImportOfSessions, and the tests after it, have Django describe projects by
// the script, and compare the lines that come of it.
func TestImportOfSessions(t *testing.T) {
	t.Parallel()
	checkLogins(t, sessionLogins, isSession)
}

// isSession reports whether a line begins the option for Django's sessions.
func isSession(line string) bool { return strings.HasPrefix(line, "\tdjango_session") }

func TestImportOfPasswords(t *testing.T) {
	t.Parallel()
	checkLogins(t, passwordLogins, func(line string) bool { return strings.HasPrefix(line, "\t# Passwords can be accepted") })
}

func TestImportOfAPITokens(t *testing.T) {
	t.Parallel()
	checkLogins(t, apiLogins, func(line string) bool {
		return strings.HasPrefix(line, "\tapi_token") || strings.HasPrefix(line, "\t# Some views")
	})
}

// checkLogins imports projects, and compares those options that begin with a
// line that isFirst.
func checkLogins(t *testing.T, logins []login, isFirst func(line string) bool) {
	t.Helper()
	for _, with := range pythons(t) {
		for _, test := range logins {
			t.Run(with.name+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				for _, module := range test.needs {
					if !with.has(module) {
						t.Skipf("there is no %s for %s", module, with.name)
					}
				}
				printed := with.describe(t, test.settings)
				var written strings.Builder
				report, err := read(t, printed).Caddyfile(&written)
				if err != nil {
					t.Fatal(err)
				}
				shown := fmt.Sprintf("%s\n%+v", written.String(), *report)
				if strings.Contains(printed+shown, "hush") {
					t.Errorf("a secret is shown:\n%s\n%s", printed, shown)
				}
				if got, want := options(written.String(), isFirst), test.lines(with, printed); got != want {
					t.Errorf("got\n%s\nwant\n%s\nof\n%s", got, want, shown)
				}
				wantReport(t, report, test.report...)
				if len(report.Undecided) == 0 {
					handler := adapted(t, turnedOn(written.String()))
					if hasPassword := strings.Contains(written.String(), "# password {"); hasPassword != (handler.Password != nil) {
						t.Errorf("passwords are written: %t, and %+v is read", hasPassword, handler.Password)
					}
				}
				var env []string
				for _, variable := range report.Env {
					env = append(env, variable.Name)
				}
				if want := slices.Concat([]string{"DJANGO_SECRET_KEY"}, test.env, []string{"DJANGO_DB_PASSWORD"}); !slices.Equal(env, want) {
					t.Errorf("the variables are %q, want %q", env, want)
				}
			})
		}
	}
}

// lines returns the wanted lines for the versions of a project.
func (l *login) lines(with interpreter, printed string) string {
	version := "\t# \t# Leave upgrade_hash off: which hashes this version of Django makes isn't known.\n"
	if _, rest, ok := strings.Cut(printed, `"django": "`); ok && rest[0] >= '4' {
		version = "\t# \tdjango_version " + rest[:3] + "\n"
	}
	generation := "5"
	if slices.Contains(l.needs, "knox") && !with.has("knox.migrations.0009_extend_authtoken_field") {
		generation = "4"
	}
	return strings.NewReplacer("VERSION", version, "generation 5", "generation "+generation).Replace(l.want)
}

// options returns the options of a block that begin with a line that isFirst.
func options(block string, isFirst func(line string) bool) string {
	var found strings.Builder
	isIn := false
	for line := range strings.Lines(block) {
		isComment := strings.HasPrefix(line, "\t#")
		switch {
		case isFirst(line):
			isIn = true
		case isIn && !strings.HasPrefix(line, "\t\t") && !isComment && line != "\t}\n":
			isIn = false
		}
		if isIn {
			found.WriteString(line)
		}
		if line == "\t}\n" || line == "\t# }\n" {
			isIn = false
		}
	}
	return found.String()
}

// turnedOn is a block with the options for passwords and API tokens that are
// comments.
func turnedOn(block string) string {
	var lines strings.Builder
	isOption := false
	for line := range strings.Lines(block) {
		text, isComment := strings.CutPrefix(line, "\t# ")
		isOption = isComment && (isOption || strings.HasPrefix(text, "password") || strings.HasPrefix(text, "api_token"))
		if isOption {
			line = text
		}
		lines.WriteString(line)
		isOption = isOption && text != "}\n" && strings.HasSuffix(text, "\n") && !(strings.HasPrefix(text, "api_token") && !strings.HasSuffix(text, "{\n"))
	}
	return lines.String()
}

// has reports whether a module can be imported.
func (p interpreter) has(module string) bool {
	cmd := exec.Command(p.program, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)", module)
	cmd.Env = p.env()
	return cmd.Run() == nil
}

func (p interpreter) env(more ...string) []string {
	return append(append(os.Environ(), "PYTHONPATH="+strings.Join(p.path, string(filepath.ListSeparator)), "PYTHONDONTWRITEBYTECODE=1"), more...)
}

// describe runs the script in testdata/logins.
func (p interpreter) describe(t *testing.T, python string) string {
	t.Helper()
	cmd := exec.Command(p.program, "-W", "ignore", "-c", "import pymysql; pymysql.install_as_MySQLdb()\nimport django; django.setup()\n"+settings.Script)
	cmd.Dir = "testdata/logins"
	cmd.Env = p.env("DJANGO_SETTINGS_MODULE=settings", "SETTINGS="+python)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("the script: %v\n%s", err, stderr.Bytes())
	}
	return string(printed)
}

// TestSettingsAloneTellOfSessions imports the output of diffsettings, which says
// nothing about classes of the project's.
func TestSettingsAloneTellOfSessions(t *testing.T) {
	t.Parallel()
	const project = "SECRET_KEY = 'hush'\nUSE_TZ = True\nINSTALLED_APPS = ['django.contrib.auth', 'django.contrib.sessions']\n" +
		"MIDDLEWARE = ['django.contrib.sessions.middleware.SessionMiddleware', 'django.contrib.auth.middleware.AuthenticationMiddleware']\n" +
		"SIMPLE_JWT = {'SIGNING_KEY': 'hush'}  ###\n" + database
	for name, test := range map[string]struct{ settings, want, report string }{
		"Django's defaults": {"", "\tdjango_session {\n" + loginURL, "SESSION_COOKIE_DOMAIN"},
		"an engine, a lifetime and a URL": {
			"SESSION_ENGINE = 'django.contrib.sessions.backends.cached_db'\nSESSION_COOKIE_AGE = 3600\nLOGIN_URL = 'https://www.example.com/login'\n",
			"\tdjango_session {\n\t\tengine cached_db\n\t\tcookie_age 3600\n\t\tlogin_url https://www.example.com/login\n\t}\n",
			"",
		},
		"sessions that end early, and are extended": {
			"SESSION_COOKIE_AGE = 600\nSESSION_SAVE_EVERY_REQUEST = True\n", "\tdjango_session {\n\t\tcookie_age 600\n\t\ttouch 150s\n" + loginURL, "the right to update",
		},
		"a URL that can't stand in a comment": {"LOGIN_URL = '/{$HOME}'\n", "\tdjango_session {\n" + loginURL, ""},
		"backends that aren't Django's": {
			"AUTHENTICATION_BACKENDS = ['sesame.backends.ModelBackend', 'portal.Backend']\n",
			"\tdjango_session {\n\t\tbackends sesame.backends.ModelBackend\n" + loginURL,
			`sessions of users whom "portal.Backend" has logged in aren't accepted`,
		},
		"no backend of Django's":              {"AUTHENTICATION_BACKENDS = ['portal.Backend']\n", "", "none of them is known to find users"},
		"an engine of the project's":          {"SESSION_ENGINE = 'portal.sessions'\n", "", "whether it is derived from one"},
		"a serializer of the project's":       {"SESSION_SERIALIZER = 'portal.Serializer'\n", "", "Setting:SESSION_SERIALIZER Text:it isn't Django's"},
		"sessions that have ended":            {"SESSION_COOKIE_AGE = 0\n", "", "every session has expired"},
		"a cookie that can't be written":      {"SESSION_COOKIE_NAME = '{host}'\n", "", "option cookie_name: it has a brace"},
		"a SameSite that browsers don't know": {"SESSION_COOKIE_SAMESITE = 'Loose'\n", "", "it must be Lax, Strict, None or False"},
		"no SameSite":                         {"SESSION_COOKIE_SAMESITE = False\n", "\tdjango_session {\n" + loginURL, "Django's cookie has no SameSite"},
		"no sessions":                         {"INSTALLED_APPS = ['django.contrib.auth']\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var written strings.Builder
			report, err := read(t, project+test.settings).Caddyfile(&written)
			if err != nil {
				t.Fatal(err)
			}
			if got := options(written.String(), isSession); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			wantReport(t, report, test.report)
			if len(report.Undecided) == 0 {
				adapted(t, written.String())
			}
			if shown := fmt.Sprint(written.String(), *report); strings.Contains(shown, "hush") {
				t.Errorf("a secret is shown: %s", shown)
			}
		})
	}
}
