package token

import (
	"regexp"
	"strings"
)

// otherKind is a kind of credential or text that is mistaken for a token.
type otherKind struct {
	form      *regexp.Regexp
	what      string
	certainty Certainty
}

// otherKinds are kinds of texts with a recognizable form. They are Likely if a
// token could have the same form.
var otherKinds = []otherKind{
	// RFC 7519: three parts, the first of which is base64 of {".
	{regexp.MustCompile(`^(?i:(?:authorization:\s*)?(?:bearer\s+)?)eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$`), "a JSON Web Token, which is another kind of token; if it is the application's own, leave bearer out of token_from", Certain},
	{regexp.MustCompile(`^(?i)(?:authorization:\s*)?basic\s+[A-Za-z0-9+/=]+$`), "a user name and a password of HTTP Basic authentication", Certain},
	// Django's formats of django.contrib.auth.hashers.
	{regexp.MustCompile(`^(?:pbkdf2_sha\d+|argon2\w*|bcrypt\w*|scrypt|md5|sha1|\$argon2\w*|\$2[aby])\$`), "a password hash, as the column password of a user holds it", Certain},
	{regexp.MustCompile(`^![A-Za-z0-9]{40}$`), "an unusable password, as the column password of a user holds it", Certain},
	// django.core.signing.dumps, as of the backend signed_cookies.
	{regexp.MustCompile(`^(?:\.eJ|eyJ)[A-Za-z0-9_-]*:[0-9A-Za-z]{5,8}:[A-Za-z0-9_-]{27,43}$`), "data that Django has signed, such as the session of the backend signed_cookies", Certain},
	// django.contrib.auth.tokens.
	{regexp.MustCompile(`^[0-9a-z]{1,13}-[0-9a-f]{20,64}$`), "a token of Django's password reset", Certain},
	{regexp.MustCompile(`^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`), "a UUID, such as the primary key of a user", Certain},
	{regexp.MustCompile(`^[0-9]{1,20}$`), "a number, such as the primary key of a user", Certain},
	{regexp.MustCompile(`^[^@\s/?&=<>"]+@[^@\s/?&=<>"]+\.[A-Za-z]+$`), "an e-mail address", Certain},
	{regexp.MustCompile(`\{\{|\{%|<%|\$\{|%\(\w+\)s|^%s$|^\{\w*\}$|^\$\w+$|^<\w+>$|^\[\w+\]$`), "a placeholder of a template that wasn't filled in", Certain},
	{regexp.MustCompile(`^(?i)(?:none|null|nil|undefined|nan|true|false|\[object object\]|token|your[_-]?token|sesame)$`), "a word instead of a token: the program that made the link had none", Certain},
	{regexp.MustCompile(`^[A-Za-z']{1,12}(?:,? [A-Za-z']{1,12}){2,}[.!?]?$`), "words of a sentence", Likely},
	{regexp.MustCompile(`^[0-9a-f]{40}$`), "40 hexadecimal digits, as an API token of Django REST framework or a SHA-1 hash", Likely},
	{regexp.MustCompile(`^(?:[0-9a-f]{32}|[0-9a-f]{64}|[0-9a-f]{128})$`), "hexadecimal digits, as a hash or an API key", Likely},
	{regexp.MustCompile(`^[0-9a-z]{32}$`), "a session ID of Django, the value of the cookie sessionid", Likely},
	{regexp.MustCompile(`^[0-9A-Za-z]{64}$`), "a CSRF token of Django", Likely},
	{regexp.MustCompile(`^(?:gh[opsu]|sk|pk|xox[abp]|glpat|AKIA)[_-]?[A-Za-z0-9_-]{16,}$`), "an API key of another service", Likely},
}

// otherKindOf returns the kind of a text that isn't a token.
func otherKindOf(text string) (Finding, bool) {
	text = strings.TrimSpace(text)
	if len(text) > maxGiven || strings.HasPrefix(text, "aaaa") {
		return Finding{}, false // the second is a token of a small key, in lower case
	}
	for _, kind := range otherKinds {
		if kind.form.MatchString(text) {
			return Finding{Cause: CauseNotAToken, Certainty: kind.certainty, Text: "it is no token of django-sesame; it looks like " + kind.what}, true
		}
	}
	return Finding{}, false
}
