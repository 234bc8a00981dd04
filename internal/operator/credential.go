package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The schemes themselves explain Django's sessions and API tokens: explain makes a
// request with the text where a client would send it, and passes it to the schemes.
// So the verdict is the gateway's own.

// credentialExplanation is an explanation of a credential other than a token. Its
// JSON has the names of token.Explanation. The credential isn't in it.
type credentialExplanation struct {
	Verdict    string `json:"verdict"` // "valid", or the name of the reason
	Summary    string `json:"summary"`
	Length     int    `json:"length"`
	Scheme     string `json:"scheme"`
	PrimaryKey string `json:"primary_key,omitempty"`
	Username   string `json:"username,omitempty"`
	Authentic  bool   `json:"authentic"`

	// Holds are facts about the credential, and about its row.
	Holds    []string        `json:"holds,omitempty"`
	Findings []token.Finding `json:"findings"`

	// ScopeUnknown: the verdict depends on the site and the scope, which aren't known.
	ScopeUnknown bool `json:"scope_unknown,omitempty"`
}

// write prints the explanation.
func (e *credentialExplanation) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeIndented(w, e)
	}
	verdict := "valid\n"
	switch {
	case e.ScopeUnknown:
		verdict = fmt.Sprintf("%s: %s\n", e.Verdict, e.Summary)
	case !e.isValid():
		verdict = fmt.Sprintf("refused: %s (%s)\n", e.Verdict, e.Summary)
	}
	if _, err := io.WriteString(w, verdict); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s: %s\n", e.Scheme, strings.Join(e.Holds, ", ")); err != nil {
		return err
	}
	for _, f := range e.Findings {
		line := fmt.Sprintf("%-8s  %s: %s\n", f.Certainty, f.Cause, f.Text)
		if f.Remedy != "" {
			line += "          remedy: " + f.Remedy + "\n"
		}
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}

func (e *credentialExplanation) isValid() bool { return e.Verdict == verdictValid }

const (
	verdictValid   = "valid"
	verdictUnknown = "unknown"
)

// sending is a request with a text where a client would send it.
type sending struct {
	header, value string
	isNamed       bool // the text itself names the header field or cookie
}

// longestCredential is the longest text that is passed to the schemes.
const longestCredential = 8 << 10

// sendings are the ways in which a text may have been sent to a scheme.
func sendings(scheme authn.ConfiguredScheme, text string) []sending {
	text = strings.TrimSpace(text)
	if len(text) > longestCredential || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil
	}
	field, rest, _ := strings.Cut(text, ":")
	var all []sending
	switch {
	case strings.EqualFold(field, "Cookie"), strings.EqualFold(field, "Set-Cookie"):
		all = cookiesIn(scheme, strings.TrimSpace(rest))
	case strings.EqualFold(field, "Authorization"):
		return authorizations(scheme, strings.TrimSpace(rest))
	default:
		all = append(cookiesIn(scheme, text), authorizations(scheme, text)...)
		if len(all) == 0 && looksLikeCredential(text) {
			for _, name := range scheme.Cookies() {
				all = append(all, sending{"Cookie", name + "=" + text, false})
			}
			for _, word := range words(scheme) {
				all = append(all, sending{"Authorization", word + " " + text, false})
			}
		}
	}
	return all
}

// cookiesIn returns the cookies of a scheme from a Cookie field.
func cookiesIn(scheme authn.ConfiguredScheme, cookies string) []sending {
	var all []sending
	for pair := range strings.SplitSeq(cookies, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if ok && slices.Contains(scheme.Cookies(), name) {
			all = append(all, sending{"Cookie", name + "=" + value, true})
		}
	}
	return all
}

// authorizations returns credentials with each word that the scheme reads in front
// of them.
func authorizations(scheme authn.ConfiguredScheme, credentials string) []sending {
	first, rest, ok := strings.Cut(credentials, " ")
	isWord := func(word string) bool { return strings.EqualFold(word, first) }
	if !ok || strings.TrimSpace(rest) == "" || !slices.ContainsFunc(words(scheme), isWord) {
		return nil
	}
	return []sending{{"Authorization", credentials, true}}
}

// words are the words (such as Bearer) in front of the credentials that a scheme
// takes from Authorization.
func words(scheme authn.ConfiguredScheme) []string {
	reads, ok := scheme.(interface{ Challenges() []string })
	if !ok {
		return nil
	}
	var all []string
	for _, challenge := range reads.Challenges() {
		word, _, _ := strings.Cut(challenge, " ")
		if !slices.Contains(all, word) {
			all = append(all, word)
		}
	}
	return all
}

// credentialForms are the forms of credentials that Django and its libraries make,
// by scheme. Other texts can be credentials as well.
var credentialForms = map[string]*regexp.Regexp{
	"django_session": regexp.MustCompile(`^[0-9a-z]{32}$|^(?:\.eJ|eyJ)[A-Za-z0-9_-]*:[0-9A-Za-z]{5,8}:[A-Za-z0-9_-]{27,43}$`),
	"drf":            regexp.MustCompile(`^[0-9a-f]{40}$`),
	"knox":           regexp.MustCompile(`^.{0,10}[0-9a-f]{64}$`),
	"simplejwt":      regexp.MustCompile(`^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`),
}

// looksLikeCredential reports whether a text alone is taken for a credential. Any
// other text needs the cookie's name in front, or the word of Authorization.
func looksLikeCredential(text string) bool {
	for _, form := range credentialForms {
		if form.MatchString(text) {
			return true
		}
	}
	return false
}

// attempt is what became of a credential.
type attempt struct {
	credential authn.Credential
	user       *userstore.User // nil if none was found
	err        error           // why it is rejected
	isNamed    bool
	hasForm    bool
}

// rank says how likely a text is meant to be this credential; 0 means not at all.
func (a *attempt) rank() int {
	switch {
	case a.credential == nil:
		return 0
	case a.err == nil:
		return 4
	case authn.IsStale(a.err) || a.user != nil:
		return 3
	case a.isNamed:
		return 2
	case a.hasForm:
		return 1
	}
	return 0
}

// explainCredential explains a text that is a credential of one of the handler's
// schemes, or returns nil. The store is opened anew, since the schemes read other
// tables than tokens do.
func (i *issuer) explainCredential(ctx context.Context, q *question) (*credentialExplanation, error) {
	if i.Schemes == nil {
		return nil, nil
	}
	var store *userstore.MySQL
	schemes, err := i.Schemes(func() *userstore.MySQL { return store }, func() time.Time { return q.at })
	if err != nil || len(schemes) == 0 {
		return nil, err
	}
	isSent := func(scheme authn.ConfiguredScheme) bool { return len(sendings(scheme, q.text)) > 0 }
	if !slices.ContainsFunc(schemes, isSent) {
		return nil, nil
	}
	store, err = i.openFor(ctx, func(needs *userstore.Needs) {
		for _, scheme := range schemes {
			scheme.AddNeeds(needs)
		}
		// The store only reads. It also finds rows that have ended, to explain
		// them.
		needs.SessionTable = ""
		for _, via := range needs.Vias {
			via.Until, via.Extends = "", false
		}
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // nothing depends on it any more
	var best attempt
	for _, scheme := range schemes {
		for _, s := range sendings(scheme, q.text) {
			tried, err := tryCredentials(ctx, store, scheme, s, q)
			if err != nil {
				return nil, err
			}
			if tried.rank() > best.rank() {
				best = tried
			}
		}
	}
	if best.rank() == 0 {
		return nil, nil
	}
	return best.explain(q), nil
}

// openFor opens the store to read more than tokens need.
func (i *issuer) openFor(ctx context.Context, add func(*userstore.Needs)) (*userstore.MySQL, error) {
	cfg, needs, err := i.reading(i.tokens.Settings())
	if err != nil {
		return nil, err
	}
	add(&needs)
	if i.queryTimeout > 0 {
		cfg.QueryTimeout = caddy.Duration(i.queryTimeout)
	}
	store, err := userstore.OpenReadOnly(ctx, cfg, needs, zap.NewNop())
	if err != nil {
		return nil, fmt.Errorf("userstore: %w", err)
	}
	return store, nil
}

// tryCredentials returns the likeliest of the credentials that a scheme takes out
// of a request. The error says why the store has no answer.
func tryCredentials(ctx context.Context, store *userstore.MySQL, scheme authn.Scheme, s sending, q *question) (attempt, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", nil)
	if err != nil {
		return attempt{}, fmt.Errorf("making up a request: %w", err)
	}
	request.Header.Set(s.header, s.value)
	_, text, _ := strings.Cut(s.value, map[string]string{"Cookie": "=", "Authorization": " "}[s.header])
	var best attempt
	for _, c := range scheme.Take(request) {
		tried := attempt{credential: c, isNamed: s.isNamed}
		if form := credentialForms[c.Scheme()]; form != nil {
			tried.hasForm = form.MatchString(strings.TrimSpace(text))
		}
		authenticator := authn.Authenticator{
			Find:     tried.find(ctx, store),
			Rejected: func(_ *http.Request, _ authn.Credential, err error) error { return err },
		}
		_, tried.err = authenticator.Explicit(request, []authn.Credential{c}, authn.At{Now: q.at}, func(*userstore.User) error { return nil })
		if tried.err != nil && !authn.IsRejection(tried.err) {
			return attempt{}, fmt.Errorf("looking up the user of the credential: %w", tried.err)
		}
		if tried.rank() > best.rank() {
			best = tried
		}
	}
	return best, nil
}

// find returns an authn.Authenticator.Find that also keeps the user found.
func (a *attempt) find(ctx context.Context, store *userstore.MySQL) func(*http.Request, authn.Credential, userstore.Key, func(*userstore.User) error) (*userstore.User, error) {
	return func(_ *http.Request, _ authn.Credential, key userstore.Key, check func(*userstore.User) error) (*userstore.User, error) {
		user, err := lookup(ctx, store, key)
		if errors.Is(err, userstore.ErrNotFound) {
			return nil, check(nil)
		}
		if err != nil {
			return nil, err
		}
		a.user = user
		return user, check(user)
	}
}

func lookup(ctx context.Context, store *userstore.MySQL, key userstore.Key) (*userstore.User, error) {
	if pk, ok := key.PrimaryKey(); ok {
		return store.Lookup(ctx, pk)
	}
	return store.LookupVia(ctx, key)
}

// explain describes the result for the credential.
func (a *attempt) explain(q *question) *credentialExplanation {
	e := &credentialExplanation{
		Verdict: verdictValid, Summary: "the credential is valid", Length: len(q.text), Scheme: a.credential.Scheme(),
		Authentic: a.err == nil || authn.IsStale(a.err),
	}
	if a.user != nil {
		e.PrimaryKey, e.Username = a.user.ID(), a.user.Username
		e.Holds = append(e.Holds, "of "+describeUser(a.user))
	}
	e.Holds = append(e.Holds, authn.Describe(a.credential, a.err, q.at)...)
	if len(e.Holds) == 0 {
		e.Holds = []string{"nothing else is known of it"}
	}
	if a.err != nil {
		e.Verdict, e.Summary = authn.ReasonOf(a.err), a.err.Error()
		certainty := token.Certain
		if !a.isNamed && !e.Authentic {
			certainty = token.Likely
		}
		e.Findings = append(e.Findings, token.Finding{
			Cause: token.Cause(e.Verdict), Certainty: certainty, Text: e.Summary, Remedy: credentialRemedies[e.Verdict],
		})
	}
	if q.user != nil && a.user != nil && a.user.PrimaryKey != q.user.PrimaryKey {
		e.Findings = append(e.Findings, token.Finding{
			Cause: token.CauseOtherUser, Certainty: token.Certain,
			Text: fmt.Sprintf("it is a credential of %s, not of %s", describeUser(a.user), describeUser(q.user)),
		})
	}
	return e
}

// isOf reports whether the credential isn't another user's than the given one.
func (e *credentialExplanation) isOf(user *userstore.User) bool {
	return user == nil || e.PrimaryKey == "" || e.PrimaryKey == user.ID()
}

// credentialRemedies are the remedies for reasons.
var credentialRemedies = map[string]string{
	"anonymous":        "log in to Django with this browser; Django keeps sessions of visitors, too",
	"bad_signature":    "compare secret_key, key_salt and signing_key with Django's settings; for a token of another server, nothing is wrong",
	"blacklisted":      "get another token: Django has ended this one",
	"expired":          "log in to Django again, or get another token",
	"inactive_user":    "make the user active in Django, if that is meant",
	"malformed":        "copy the whole value; compare engine with SESSION_ENGINE",
	"missing_claim":    "compare the names of claims with SIMPLE_JWT",
	"not_yet_valid":    "run NTP on the gateway and where the token was made",
	"revoked":          "log in to Django again, or get another token; if all are revoked, compare secret_key with SECRET_KEY",
	"unknown_session":  "log in to Django again; compare table, and whether the gateway reads the database that Django writes",
	"unknown_token":    "get another token; compare table and generation, and whether the gateway reads the database that Django writes",
	"unknown_user":     "the user was deleted; compare the userstore's table with Django's",
	"unlisted_backend": "add the backend to backends, if it rejects no users that the gateway accepts",
	"wrong_algorithm":  "compare algorithm with ALGORITHM in SIMPLE_JWT",
	"wrong_audience":   "compare audience with AUDIENCE in SIMPLE_JWT",
	"wrong_issuer":     "compare issuer with ISSUER in SIMPLE_JWT",
	"wrong_type":       "send the access token; a refresh token is good for getting another one only",
}
