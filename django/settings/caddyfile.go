package settings

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// option writes an option with arguments that are already quoted.
func (b *block) option(name string, arguments ...string) {
	b.lines = append(b.lines, "\t"+strings.Join(append([]string{name}, arguments...), " "))
}

// comment writes a comment, which has no text of the input in it.
func (b *block) comment(format string, arguments ...any) {
	b.lines = append(b.lines, "\t# "+fmt.Sprintf(format, arguments...))
}

func (b *block) note(setting, format string, arguments ...any) {
	b.report.Notes = append(b.report.Notes, Note{Setting: setting, Text: fmt.Sprintf(format, arguments...)})
}

// undecide leaves a decision to the operator: a line keeps the configuration
// from starting.
func (b *block) undecide(setting, format string, arguments ...any) {
	note := Note{Setting: setting, Text: fmt.Sprintf(format, arguments...)}
	b.report.Undecided = append(b.report.Undecided, note)
	b.undecided = append(b.undecided, "\tundecided `"+harmless(note.Setting+": "+note.Text)+"`")
}

// secret names an environment variable, and returns its placeholder.
func (b *block) secret(name, setting string) string {
	b.report.Env = append(b.report.Env, EnvVar{Name: name, Setting: setting})
	return "{env." + name + "}"
}

// problem is a setting that can't be carried over.
func problem(setting, format string, arguments ...any) error {
	return fmt.Errorf("%s: %w", setting, fmt.Errorf(format, arguments...))
}

// isSet reports whether a setting is there and isn't None.
func (b *block) isSet(name string) bool { return b.settings[name] != nil }

// text returns a setting that is a string, or empty if it isn't set.
func (b *block) text(name string) (string, error) {
	if !b.isSet(name) {
		return "", nil
	}
	text, ok := b.settings[name].(string)
	if !ok {
		return "", problem(name, "it must be a string")
	}
	return text, nil
}

// isTrue is what Python's bool() says of a setting, or otherwise where it isn't
// there.
func (b *block) isTrue(name string, otherwise bool) (bool, error) {
	value, ok := b.settings[name]
	if !ok {
		return otherwise, nil
	}
	switch value := value.(type) {
	case nil:
		return false, nil
	case bool:
		return value, nil
	case int64:
		return value != 0, nil
	case float64:
		return value != 0, nil
	case string:
		return value != "", nil
	case []any:
		return len(value) > 0, nil
	case pyDict:
		return len(value) > 0, nil
	default:
		return false, problem(name, "it must be True or False")
	}
}

// word writes an option of one word.
func (b *block) word(option, setting, value string) error {
	quoted, err := quote(value)
	if err != nil {
		return problem(setting, "%w: write option %s in JSON", err, option)
	}
	b.option(option, quoted)
	return nil
}

// secrets writes the keys.
func (b *block) secrets() error {
	key, _ := b.settings["SECRET_KEY"].(secret)
	if key.kind == "" || key.kind == "NoneType" {
		return problem("SECRET_KEY", "it is empty, which Django doesn't run with either")
	}
	b.option("secret_key", b.secret(envSecretKey, "SECRET_KEY"))
	b.noteBytes("SECRET_KEY", envSecretKey, key)

	if b.isSet("SECRET_KEY_FALLBACKS") {
		fallbacks, ok := b.settings["SECRET_KEY_FALLBACKS"].([]any)
		if !ok {
			return problem("SECRET_KEY_FALLBACKS", "it must be a list")
		}
		var placeholders []string
		for i, value := range fallbacks {
			key, _ := value.(secret)
			setting := fmt.Sprintf("SECRET_KEY_FALLBACKS[%d]", i)
			if key.kind == "" || key.kind == "NoneType" {
				b.note(setting, "it is empty, and left out: an empty key protects nothing")
				continue
			}
			name := envFallback + strconv.Itoa(i+1)
			placeholders = append(placeholders, b.secret(name, setting))
			b.noteBytes(setting, name, key)
		}
		if len(placeholders) > 0 {
			b.option("secret_key_fallbacks", placeholders...)
		}
	}

	switch key, _ := b.settings["SESAME_KEY"].(secret); key.kind {
	case "":
	case "NoneType":
		b.option("key", "None") // django-sesame signs str(None)
	default:
		b.option("key", b.secret(envKey, "SESAME_KEY"))
		b.noteBytes("SESAME_KEY", envKey, key)
	}
	return nil
}

// noteBytes notes a secret that isn't a string: django-sesame signs v2 tokens with
// the result of str().
func (b *block) noteBytes(setting, name string, key secret) {
	switch {
	case key.kind == "str":
	case key.kind == "bytes" && setting == "SESAME_KEY":
		b.note(setting, "it is bytes: set %s to what Python's print(str(…)) prints of it, with b'…' around it", name)
	case key.kind == "bytes":
		b.note(setting, "it is bytes: for v2 tokens, set %s to what Python's print(str(…)) prints of it, with b'…' around it. v1 tokens need the bytes themselves instead, so only one of the versions can be had", name)
	default:
		b.note(setting, "it isn't a plain string: set %s to what Python's print(str(…)) prints of it", name)
	}
}

// lifecycle writes how tokens are named, and when they end.
func (b *block) lifecycle() error {
	if name, err := b.text("SESAME_TOKEN_NAME"); err != nil {
		return err
	} else if name != "" && name != "sesame" {
		if err := b.word("token_name", "SESAME_TOKEN_NAME", name); err != nil {
			return err
		}
	}
	hasMaxAge, err := b.maxAge()
	if err != nil {
		return err
	}
	oneTime, err := b.isTrue("SESAME_ONE_TIME", false)
	if err != nil {
		return err
	}
	if oneTime {
		b.option("one_time")
		b.note("SESAME_ONE_TIME", "the database user needs the right to update last_login")
	}
	onPassword, err := b.isTrue("SESAME_INVALIDATE_ON_PASSWORD_CHANGE", true)
	if err != nil {
		return err
	}
	if !onPassword {
		if !hasMaxAge {
			return problem("SESAME_INVALIDATE_ON_PASSWORD_CHANGE", "it is False, and SESAME_MAX_AGE isn't set: django-sesame refuses that, too, since nothing would end a token")
		}
		b.option("invalidate_on_password_change", "off")
	}
	onEmail, err := b.isTrue("SESAME_INVALIDATE_ON_EMAIL_CHANGE", false)
	if onEmail {
		b.option("invalidate_on_email_change")
	}
	return err
}

func (b *block) maxAge() (isSet bool, err error) {
	const name = "SESAME_MAX_AGE"
	if !b.isSet(name) {
		return false, nil
	}
	seconds, err := secondsOf(b.settings[name])
	switch {
	case err != nil:
		return false, problem(name, "%w", err)
	case seconds <= 0:
		return false, problem(name, "it is %s s, so that every token has expired", formatSeconds(seconds))
	}
	b.option("max_age", formatSeconds(seconds))
	return true, nil
}

// secondsOf reads a number of seconds, or a datetime.timedelta.
func secondsOf(value any) (float64, error) {
	var seconds float64
	switch value := value.(type) {
	case int64:
		seconds = float64(value)
	case float64:
		seconds = value
	case pyCall:
		if value.name != "datetime.timedelta" && value.name != "timedelta" {
			return 0, errors.New("it must be a number of seconds, or a timedelta")
		}
		units := map[string]float64{"days": 86400, "seconds": 1, "microseconds": 1e-6}
		for i, argument := range value.args {
			if i > 2 {
				return 0, errors.New("its timedelta can't be read")
			}
			n, err := secondsOf(argument)
			if err != nil {
				return 0, err
			}
			seconds += n * []float64{86400, 1, 1e-6}[i]
		}
		for keyword, argument := range value.keywords {
			n, err := secondsOf(argument)
			if err != nil || units[keyword] == 0 {
				return 0, errors.New("its timedelta can't be read")
			}
			seconds += n * units[keyword]
		}
	default:
		return 0, errors.New("it must be a number of seconds, or a timedelta")
	}
	const century = 100 * 365 * 86400
	if math.IsNaN(seconds) || math.Abs(seconds) > century {
		return 0, errors.New("it is no time that a token can be old")
	}
	return seconds, nil
}

func formatSeconds(seconds float64) string {
	return strconv.FormatFloat(math.Round(seconds*1e6)/1e6, 'f', -1, 64)
}

// djangosPacker is a class of django-sesame's.
var djangosPacker = regexp.MustCompile(`^sesame\.packers\.(Unsigned)?(Short|Long|LongLong|Int)Packer$|^sesame\.packers\.(UUID|Bytes|Str)Packer$`)

// knownEncoding is what packer_encoding can be.
var knownEncoding = regexp.MustCompile(`^[A-Z][A-Za-z]+Packer$|^hex:[0-9]{1,3}$`)

// packer writes how tokens hold keys.
func (b *block) packer() error {
	packer, err := b.text("SESAME_PACKER")
	if err != nil {
		return err
	}
	if packer == "" {
		b.fieldPacker()
	} else {
		if err := b.word("packer", "SESAME_PACKER", packer); err != nil {
			return err
		}
		switch {
		case djangosPacker.MatchString(packer):
		case knownEncoding.MatchString(b.encoding):
			b.option("packer_encoding", b.encoding)
			b.note("SESAME_PACKER", "%q is a class of the project's; it does with samples what %s does, which was assumed for all keys", packer, b.encoding)
		default:
			b.comment("packer_encoding hex:24")
			b.note("SESAME_PACKER", "%q is a class of the project's: say in packer_encoding what it does, as the name of the packer of django-sesame's that writes the same bytes (LongPacker, StrPacker, UUIDPacker …) or, for keys of 24 hexadecimal digits, as hex:24. Without it, the configuration doesn't load", packer)
		}
	}
	field, err := b.text("SESAME_PRIMARY_KEY_FIELD")
	if err != nil {
		return err
	}
	if field != "" && field != "pk" {
		if err := b.word("primary_key_field", "SESAME_PRIMARY_KEY_FIELD", field); err != nil {
			return err
		}
	}
	return nil
}

// versions writes the options for versions of tokens.
func (b *block) versions() error {
	if err := b.tokens(); err != nil {
		return err
	}
	for _, number := range []struct{ option, setting string }{
		{"signature_size", "SESAME_SIGNATURE_SIZE"}, {"iterations", "SESAME_ITERATIONS"},
	} {
		if !b.isSet(number.setting) {
			continue
		}
		n, ok := b.settings[number.setting].(int64)
		if !ok || n < 1 || number.option == "signature_size" && n > 64 || n > math.MaxInt32 {
			return problem(number.setting, "it is not a number that django-sesame takes")
		}
		if number.option == "signature_size" && n != 10 || number.option == "iterations" && n != 10000 {
			b.option(number.option, strconv.FormatInt(n, 10))
		}
	}
	if _, ok := b.settings["SESAME_SALT"]; ok {
		salt, ok := b.settings["SESAME_SALT"].(string)
		switch {
		case !ok:
			return problem("SESAME_SALT", "it must be a string")
		case salt == "":
			b.note("SESAME_SALT", "it is empty, which the gateway can't have: v1 tokens won't be accepted")
		case salt != "sesame":
			if err := b.word("salt", "SESAME_SALT", salt); err != nil {
				return err
			}
		}
	}
	return b.digest()
}

func (b *block) tokens() error {
	const name = "SESAME_TOKENS"
	if !b.isSet(name) {
		return nil
	}
	modules, ok := b.settings[name].([]any)
	if !ok {
		return problem(name, "it must be a list")
	}
	var versions []string
	for _, module := range modules {
		switch module {
		case "sesame.tokens_v1":
			versions = append(versions, "v1")
		case "sesame.tokens_v2":
			versions = append(versions, "v2")
		default:
			b.note(name, "it names a module that isn't django-sesame's: its tokens aren't accepted. Make v2 tokens for the gateway")
		}
	}
	if len(versions) == 0 {
		return problem(name, "it has none of django-sesame's modules, and the gateway knows no others")
	}
	if !slices.Equal(versions, []string{"v2", "v1"}) {
		b.option("tokens", versions...)
	}
	return nil
}

// digestName finds a digest in <built-in function openssl_md5>.
var digestName = regexp.MustCompile(`\b(?:openssl_)?(md5|sha1|sha256|sha512)\b`)

func (b *block) digest() error {
	const name = "SESAME_DIGEST"
	if !b.isSet(name) {
		return nil
	}
	function, _ := b.settings[name].(pyCall)
	match := digestName.FindStringSubmatch(function.name + " " + function.shorthand)
	if match == nil {
		b.note(name, "it isn't md5, sha1, sha256 or sha512 of hashlib: v1 tokens won't be accepted")
		return nil
	}
	if match[1] != "md5" {
		b.option("digest", match[1])
	}
	return nil
}

// times writes how Django stores times.
func (b *block) times() error {
	if _, ok := b.settings["USE_TZ"]; !ok {
		if oneTime, _ := b.isTrue("SESAME_ONE_TIME", false); oneTime {
			return problem("USE_TZ", "it isn't in the settings given, its default depends on Django's version, and one-time tokens on it: give the output of diffsettings --all")
		}
		b.note("USE_TZ", "it isn't in the settings given: its default is True from Django 5.0 on, and False before; use_tz on was assumed. Give the output of diffsettings --all")
		return nil
	}
	useTZ, err := b.isTrue("USE_TZ", true)
	if err != nil || useTZ {
		return err
	}
	b.option("use_tz", "off")
	zone, err := b.text("TIME_ZONE")
	switch {
	case err != nil:
		return err
	case zone != "":
		return b.word("time_zone", "TIME_ZONE", zone)
	case !b.isSet("TIME_ZONE") && b.complete:
		b.note("TIME_ZONE", "it is None: Django uses the time zone of its host, and so does the gateway. See that they are the same")
	default:
		b.option("time_zone", "America/Chicago") // Django's default
	}
	return nil
}

// defaultCookieAge is Django's SESSION_COOKIE_AGE: two weeks.
const defaultCookieAge = 14 * 24 * 60 * 60

// logins writes or notes the settings about logging in.
func (b *block) logins() {
	middleware, _ := b.settings["MIDDLEWARE"].([]any)
	isLoggingIn := slices.Contains(middleware, any("sesame.middleware.AuthenticationMiddleware"))
	if isLoggingIn {
		b.comment("Django logs users in who come with a token; for the same here:")
		b.comment("session")
		b.note("MIDDLEWARE", "sesame.middleware.AuthenticationMiddleware logs users in. To have the gateway do so, add option session")
	}
	if age, ok := b.settings["SESSION_COOKIE_AGE"].(int64); ok && !b.hasSessions && age > 0 && age != defaultCookieAge && age <= math.MaxInt32 {
		b.comment("Django's sessions last %ds (SESSION_COOKIE_AGE); the gateway's, with session, by its option max_age.", age)
	}
	if url, ok := b.settings["LOGIN_REDIRECT_URL"].(string); ok && url != "/accounts/profile/" {
		b.note("LOGIN_REDIRECT_URL", "there is no option for it: a login with session leads to the page of the link, and one at /_sesame/login to its parameter next. Put %q there in the links that you make", url)
	}
}
