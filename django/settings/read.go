// Package settings reads the settings of a Django project, and writes
// the block of a Caddyfile that goes with them.
//
// It reads what `manage.py diffsettings --all` prints, or the JSON that Script
// makes the project print. The latter is better: it holds no secret, and says
// what the table of users is called, where diffsettings leaves that to be
// assumed.
//
// Nothing of the input is evaluated, and no secret of it is kept.
package settings

import (
	"bufio"
	"bytes"
	_ "embed" // Script
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Script is a program in Python that prints a project's settings as JSON,
// without secrets. It is run by `python manage.py shell <script.py`.
var Script = scriptSettings + scriptQueries + scriptCode + scriptUsers + scriptSessions + scriptPasswords + scriptAPITokens + scriptProject

// The parts of Script: they read the settings, the queries that Django would send,
// the users, sessions, passwords and API tokens that it accepts, and print JSON.
var (
	//go:embed script/settings.py
	scriptSettings string
	//go:embed script/queries.py
	scriptQueries string
	//go:embed script/code.py
	scriptCode string
	//go:embed script/users.py
	scriptUsers string
	//go:embed script/sessions.py
	scriptSessions string
	//go:embed script/passwords.py
	scriptPasswords string
	//go:embed script/apitokens.py
	scriptAPITokens string
	//go:embed script/project.py
	scriptProject string
)

// scriptVersion is the version of the JSON that Script prints.
const scriptVersion = 3

// Project has what is known about a Django project.
type Project struct {
	settings  map[string]any
	user      *userModel // nil where only settings are known
	databases databases  // empty where only settings are known
	complete  bool       // whether settings that have their default are known, too
	encoding  string     // the packer that equals SESAME_PACKER, if known
	login     *logins    // nil where only settings are known
	version   string     // of Django, if known
}

// databases are the databases that Django writes users to and reads them from.
type databases struct {
	write *database
	reads []*database
}

// secret replaces a secret: it has the type, not the value.
type secret struct {
	kind string // its type in Python; empty for an empty one
}

// maxInput is far more than settings take.
const maxInput = 16 << 20

// Read reads the output of diffsettings, in either of its forms, or the JSON that
// Script prints. Read skips other output around it.
func Read(r io.Reader) (*Project, error) {
	input, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("reading the settings: %w", err)
	}
	if len(input) > maxInput {
		return nil, fmt.Errorf("the settings are longer than %d MiB: is this the output of diffsettings?", maxInput>>20)
	}
	input = ansi.ReplaceAll(input, nil)
	p, err := readJSON(input)
	if p == nil && err == nil {
		p, err = readDiffsettings(input)
	}
	if err != nil {
		return nil, err
	}
	if _, ok := p.settings["SECRET_KEY"]; !ok {
		return nil, errors.New("there is no SECRET_KEY in it: give the output of " +
			"`python manage.py diffsettings --all`, or of the script run by `python manage.py shell`")
	}
	p.hideSecrets()
	return p, nil
}

var (
	// ansi is what colours a terminal.
	ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")
	// setting is a line of diffsettings: in the form "hash" with ### in front
	// of, and in the form "unified" with two spaces, -, or + in front.
	setting = regexp.MustCompile(`^(### |  |\+ |- )?([A-Z][A-Z0-9_]*) = (.*)$`)
)

// readDiffsettings reads lines such as `SESAME_MAX_AGE = 600  ###`. A value
// whose repr() has line breaks goes on in the lines that follow.
func readDiffsettings(input []byte) (*Project, error) {
	p := &Project{settings: make(map[string]any)}
	values := make(map[string]string)
	last := ""
	lines := bufio.NewScanner(bytes.NewReader(input))
	lines.Buffer(nil, maxInput+1)
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		match := setting.FindStringSubmatch(line)
		switch {
		case match == nil && last != "":
			values[last] += "\n" + line
		case match == nil:
			// what manage.py prints before
		case match[1] == "- ":
			last = "" // the default, which the next line replaces
		default:
			p.complete = p.complete || match[1] == "### " || match[1] == "  "
			last = match[2]
			values[last] = match[3]
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the output of diffsettings: %w", err)
	}
	for name, text := range values {
		text = strings.TrimRight(text, " \n")
		text = strings.TrimSuffix(text, "  ###") // a setting that Django doesn't know
		value, err := parseLiteral(text)
		if err != nil {
			value = pyCall{} // whatever it is
		}
		p.settings[name] = value
	}
	return p, nil
}

// readJSON reads the output of Script, or returns nil if there is none.
func readJSON(input []byte) (*Project, error) {
	var file struct {
		Version  int                        `json:"django_project"`
		Django   string                     `json:"django"`
		Settings map[string]json.RawMessage `json:"settings"`
		User     *userModel                 `json:"user"`
		Encoding string                     `json:"packer_encoding"`
		Logins   *logins                    `json:"logins"`

		Databases struct {
			Write *databaseJSON   `json:"write"`
			Reads []*databaseJSON `json:"reads"`
		} `json:"databases"`
	}
	found := false
	for line := range bytes.Lines(input) {
		line = bytes.TrimSpace(line)
		if !bytes.HasPrefix(line, []byte("{")) || !bytes.Contains(line, []byte(`"django_project"`)) {
			continue
		}
		if err := json.Unmarshal(line, &file); err != nil {
			return nil, errors.New("the JSON of the settings can't be read: give it as the script has printed it, in one line")
		}
		found = true
		break
	}
	if !found {
		return nil, nil
	}
	if file.Version != scriptVersion {
		return nil, fmt.Errorf("the JSON of the settings is of version %d, and only %d is known: print it with the script of this version", file.Version, scriptVersion)
	}
	if file.User == nil || file.Databases.Write == nil {
		return nil, errors.New("the JSON of the settings has no user model or no database: give it as the script has printed it")
	}
	p := &Project{settings: make(map[string]any), user: file.User, complete: true, encoding: file.Encoding, login: file.Logins, version: file.Django}
	var err error
	for name, raw := range file.Settings {
		if p.settings[name], err = decodeJSON(raw); err != nil {
			return nil, fmt.Errorf("the JSON of setting %s can't be read", name)
		}
	}
	p.databases.write = file.Databases.Write.database()
	for _, read := range file.Databases.Reads {
		p.databases.reads = append(p.databases.reads, read.database())
	}
	return p, nil
}

// databaseJSON is a database in the JSON.
type databaseJSON struct {
	Alias    string          `json:"alias"`
	Settings json.RawMessage `json:"settings"`
}

func (d *databaseJSON) database() *database {
	value, _ := decodeJSON(d.Settings) // without settings the project is refused later
	settings, _ := value.(pyDict)
	return newDatabase(d.Alias, settings)
}

func decodeJSON(raw json.RawMessage) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return fromJSON(value), err
}

// fromJSON converts JSON to the values that parseLiteral returns.
func fromJSON(value any) any {
	switch value := value.(type) {
	case json.Number:
		if n, err := value.Int64(); err == nil {
			return n
		}
		f, _ := value.Float64() // infinite if it is too large
		return f
	case []any:
		for i := range value {
			value[i] = fromJSON(value[i])
		}
		return value
	case map[string]any:
		if kind, ok := value["@secret"].(string); ok {
			return secret{kind}
		}
		if name, ok := value["@callable"].(string); ok {
			return pyCall{shorthand: name}
		}
		if _, ok := value["@other"]; ok {
			return pyCall{}
		}
		dict := pyDict{}
		for key, item := range value {
			dict[key] = fromJSON(item)
		}
		return dict
	default:
		return value
	}
}

// hideSecrets replaces secrets by their types, so that nothing can show them.
func (p *Project) hideSecrets() {
	for _, name := range []string{"SECRET_KEY", "SESAME_KEY"} {
		if value, ok := p.settings[name]; ok {
			p.settings[name] = hide(value)
		}
	}
	if keys, ok := p.settings["SECRET_KEY_FALLBACKS"].([]any); ok {
		for i := range keys {
			keys[i] = hide(keys[i])
		}
	}
	databases, _ := p.settings["DATABASES"].(pyDict)
	for _, database := range databases {
		hidePasswords(database)
	}
	kept := make(map[string]any)
	for name, value := range p.settings {
		if isWanted(name) {
			kept[name] = value
		}
	}
	p.settings = kept
}

// isWanted reports whether a setting has to do with tokens or users. Others,
// with secrets of other programs in them, aren't kept.
func isWanted(name string) bool {
	switch name {
	case "SECRET_KEY", "SECRET_KEY_FALLBACKS", "USE_TZ", "TIME_ZONE", "DATABASES", "DATABASE_ROUTERS",
		"AUTH_USER_MODEL", "AUTHENTICATION_BACKENDS", "INSTALLED_APPS", "MIDDLEWARE", "LOGIN_REDIRECT_URL", "LOGIN_URL",
		"SESSION_COOKIE_AGE", "SESSION_COOKIE_DOMAIN", "SESSION_COOKIE_NAME", "SESSION_COOKIE_PATH",
		"SESSION_COOKIE_SAMESITE", "SESSION_COOKIE_SECURE", "SESSION_ENGINE", "SESSION_EXPIRE_AT_BROWSER_CLOSE",
		"SESSION_SAVE_EVERY_REQUEST", "SESSION_SERIALIZER",
		"SESAME_TOKEN_NAME", "SESAME_MAX_AGE", "SESAME_ONE_TIME", "SESAME_INVALIDATE_ON_PASSWORD_CHANGE",
		"SESAME_INVALIDATE_ON_EMAIL_CHANGE", "SESAME_PACKER", "SESAME_PRIMARY_KEY_FIELD", "SESAME_TOKENS", "SESAME_KEY",
		"SESAME_SIGNATURE_SIZE", "SESAME_SALT", "SESAME_DIGEST", "SESAME_ITERATIONS":
		return true
	}
	return false
}

func hidePasswords(value any) {
	dict, ok := value.(pyDict)
	if !ok {
		return
	}
	for name, item := range dict {
		switch strings.ToLower(name) {
		case "password", "passwd", "passphrase", "ssl_key_password", "ssl_passphrase":
			dict[name] = hide(item)
		default:
			hidePasswords(item)
		}
	}
}

// hide returns the type of a secret.
func hide(value any) secret {
	switch value := value.(type) {
	case secret:
		return value
	case nil:
		return secret{"NoneType"}
	case string:
		if value == "" {
			return secret{}
		}
		return secret{"str"}
	case pyBytes:
		return secret{"bytes"}
	default:
		return secret{"other"}
	}
}

// String keeps a secret from being shown by accident.
func (s secret) String() string { return fmt.Sprintf("secret of type %q", s.kind) }
