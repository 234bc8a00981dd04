package token

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Explain says why a token is valid or isn't, for the operator of a gateway:
// the verdict of Parse and Verify, and its causes. For a signature that
// doesn't match, it searches for the setting, scope or key with which it would
// match, and names it if it finds one.
//
// It is much slower than Verify, and returns details that no client may learn:
// call it for an operator, not for requests. Its work is bounded: it makes at
// most 100,000 signatures, does at most two million iterations of key
// derivations for v1 tokens, or a single derivation that has more, and looks
// up at most 64 keys.
//
// Lookup is called with keys of any kind, as another packer may have made the
// token. Its error ends Explain, except for a key of another kind than the
// configured packer makes: a column that can't hold such keys has no row for
// it. A nil lookup finds no user.
func (t *Tokens) Explain(token string, want Expectation, candidates ExplainCandidates, lookup Lookup) (*Explanation, error) {
	if lookup == nil {
		lookup = func(PrimaryKey) (*Row, error) { return nil, nil }
	}
	x := &explainer{t: t, want: want, candidates: candidates, lookup: lookup, rows: make(map[PrimaryKey]*Row)}
	verdict := x.judge(token)
	x.Explanation = Explanation{
		Reason: verdict.reason, Verdict: "valid", Summary: "the token is valid",
		Length: len(token), now: want.Now,
	}
	if verdict.reason != 0 {
		x.Verdict, x.Summary = verdict.reason.String(), verdict.reason.Error()
	}
	if verdict.reason == 0 {
		x.explainValid(token, &verdict)
	} else {
		x.explainRejected(token)
	}
	if x.err != nil {
		return nil, fmt.Errorf("looking up the user of the token: %w", x.err)
	}
	x.finish()
	return &x.Explanation, nil
}

// Lookup returns the row with a primary key, or nil if there is none.
type Lookup func(pk PrimaryKey) (*Row, error)

// Row is a user's row. Its User should have all fields of the table, not only those
// that these settings need: without last_login, Explain can't find that a token
// depends on the login elsewhere.
type Row struct {
	User User
	// Active is whether the user may log in.
	Active bool
}

// ExplainCandidates are scopes, settings and keys that a token may have been made
// with, in addition to those that Explain always tries: these settings,
// django-sesame's defaults, and each of its packers.
type ExplainCandidates struct {
	// Scopes that tokens may have been made for.
	Scopes []string
	// Packers of the operator's own, by the dotted paths in SESAME_PACKER.
	Packers map[string]Packer
	// PrimaryKeyFields, in addition to pk and some common names.
	PrimaryKeyFields []string
	// SecretKeys and Keys are other keys, such as former ones.
	SecretKeys, Keys []string
	// Salts and Iterations, for v1.
	Salts      []string
	Iterations []int
	// User is the user that the token should be for, if known. This row is
	// tried even if the token's own key leads to another row, or to none.
	User PrimaryKey
	// ParameterName is the name of the query parameter with the token in links.
	// Default: sesame.
	ParameterName string
}

// The limits of a search.
const (
	maxTrials     = 100_000
	maxStretching = 2_000_000
	maxLookups    = 64
	maxChanges    = 3 // number of settings that are wrong at the same time
)

// Explanation is the result of Explain. It contains no token, key or password
// hash, and can be encoded as JSON.
type Explanation struct {
	// Verdict is "valid", or the name of the Reason.
	Verdict string `json:"verdict"`
	// Reason is why Parse or Verify rejects the token, or 0.
	Reason Reason `json:"-"`
	// Summary is the verdict as a sentence.
	Summary string `json:"summary"`
	// Length is the number of characters that were given.
	Length int `json:"length"`

	// The contents of the token, as far as they are plausible. They are proven
	// only if Authentic.

	// Version is "v1" or "v2".
	Version string `json:"version,omitempty"`
	// PrimaryKey is the user's, as PrimaryKey.String writes it.
	PrimaryKey string `json:"primary_key,omitempty"`
	// Packer is the packer that reads this key.
	Packer string `json:"packer,omitempty"`
	// Created is when the token was made, if it says so.
	Created *time.Time `json:"created,omitempty"`
	// AgeSeconds is how long ago that was.
	AgeSeconds *int64 `json:"age_seconds,omitempty"`
	// Expires is when it reaches max_age.
	Expires *time.Time `json:"expires,omitempty"`
	// SignatureSize is the size of the signature, in bytes.
	SignatureSize int `json:"signature_size,omitempty"`

	// Authentic is whether a signature that was tried matches the token's.
	Authentic bool `json:"authentic"`
	// Incomplete is whether one of the limits ended the search.
	Incomplete bool `json:"incomplete,omitempty"`

	// Findings are the causes of a rejection, or notes about a valid token.
	// Certain ones come first.
	Findings []Finding `json:"findings"`

	now time.Time
	key PrimaryKey
}

// Key returns the primary key in the token, or zero. It is proven only if
// Authentic.
func (e *Explanation) Key() PrimaryKey { return e.key }

// Finding is a possible cause of a rejection.
type Finding struct {
	Cause     Cause     `json:"cause"`
	Certainty Certainty `json:"certainty"`
	// Setting is the option that differs from the setting with which the token
	// was made, with its value here and there. Secrets aren't shown.
	Setting string `json:"setting,omitempty"`
	Here    string `json:"here,omitempty"`
	There   string `json:"there,omitempty"`
	// Text describes the cause in a sentence without a full stop.
	Text string `json:"text"`
	// Remedy says how to fix it.
	Remedy string `json:"remedy,omitempty"`
}

// Certainty is how sure a Finding is.
type Certainty string

// The certainties. Certain causes are visible in the token, or proven by a
// signature that matches once the cause is undone. A short signature can match by
// accident: then the cause is Likely, as is the best explanation without proof. A
// cause is Possible if nothing rules it out.
const (
	Certain  Certainty = "certain"
	Likely   Certainty = "likely"
	Possible Certainty = "possible"
)

// Cause is the kind of a Finding. The values never change.
type Cause string

// The causes that concern the user and time.
const (
	CauseExpired        Cause = "expired"
	CauseFromFuture     Cause = "from_future"     // made after now: a clock is wrong
	CauseUnknownUser    Cause = "unknown_user"    // no row has the key
	CauseInactiveUser   Cause = "inactive_user"   //
	CauseIncompleteUser Cause = "incomplete_user" // a column that is signed is NULL
	CauseUsed           Cause = "used"            // one-time, and the user has logged in since
	CausePassword       Cause = "password_changed"
	CauseEmail          Cause = "email_changed"
	CauseOtherUser      Cause = "other_user" // made for ExplainCandidates.User, before the user's key changed
)

// The causes that are a setting, which Finding.Setting names.
const (
	CauseScope            Cause = "other_scope"
	CauseMaxAge           Cause = "other_max_age" // set here and not there, or the reverse
	CauseOneTime          Cause = "other_one_time"
	CauseOnPasswordChange Cause = "other_invalidate_on_password_change"
	CauseOnEmailChange    Cause = "other_invalidate_on_email_change"
	CausePacker           Cause = "other_packer"
	CausePrimaryKeyField  Cause = "other_primary_key_field"
	CauseKey              Cause = "other_key"
	CauseSignatureSize    Cause = "other_signature_size"
	CauseSecretKey        Cause = "other_secret_key"
	CauseUseTZ            Cause = "other_use_tz"
	CauseSalt             Cause = "other_salt"
	CauseDigest           Cause = "other_digest"
	CauseIterations       Cause = "other_iterations"
	CauseVersion          Cause = "version_not_accepted"
	CauseRelease          Cause = "other_release" // made by an older django-sesame, in a way that no setting changes
	CauseScopeOfV1        Cause = "scope_unsupported"
	CauseMaxAgeOfV1       Cause = "max_age_unsupported"
	CauseFallback         Cause = "secret_key_fallback" // valid by one of secret_key_fallbacks
)

// The causes that concern the text of the token.
const (
	CauseEmpty             Cause = "empty"
	CauseURL               Cause = "url"                 // a whole URL or query, not the token in it
	CauseHeader            Cause = "header_field"        // a header field, not the token in it
	CauseParameterName     Cause = "other_parameter"     // not the one of token_name, or none
	CauseAppended          Cause = "appended_parameters" // ?utm_source=… behind the token
	CauseHTMLEscaped       Cause = "html_escaped"        // &amp; for &
	CauseWhitespace        Cause = "whitespace"          // spaces or line breaks
	CausePercentEncoded    Cause = "percent_encoded"     // %3D
	CauseQuotedPrintable   Cause = "quoted_printable"    // 3D from a mail's =3D
	CausePadding           Cause = "padding"             // = at the end
	CauseStandardBase64    Cause = "standard_base64"     // + and / for - and _
	CauseDash              Cause = "typographic_dash"    // – for -
	CauseLeading           Cause = "leading_characters"  //
	CauseTrailing          Cause = "trailing_characters" // such as a full stop
	CauseForeignCharacters Cause = "foreign_characters"  // other characters that no token has
	CauseCutShort          Cause = "cut_short"           //
	CauseCutStart          Cause = "cut_start"           // the first characters are missing
	CauseCase              Cause = "case_changed"        //
	CauseAltered           Cause = "altered"             // characters were changed
	CauseNotAToken         Cause = "not_a_token"         //
)

// explainer is the state of one call of Explain.
type explainer struct {
	Explanation
	t          *Tokens
	want       Expectation
	candidates ExplainCandidates
	lookup     Lookup
	rows       map[PrimaryKey]*Row
	err        error // the first of a lookup that counts

	trials     int
	stretching int
}

// judgement is the result of Parse and Verify.
type judgement struct {
	reason Reason
	parsed Parsed
	row    *Row
}

// judge checks a token as a gateway does.
func (x *explainer) judge(token string) judgement {
	var j judgement
	var err error
	if j.parsed, err = x.t.Parse(token, x.want); err != nil {
		j.reason = reasonOf(err)
		return j
	}
	j.row = x.row(j.parsed.pk)
	switch {
	case j.row == nil:
		j.reason = UnknownUser
	case !j.row.Active:
		j.reason = InactiveUser
	default:
		j.reason = reasonOf(x.t.Verify(&j.parsed, j.row.User))
	}
	return j
}

func reasonOf(err error) Reason {
	var reason Reason
	errors.As(err, &reason)
	return reason
}

// row looks up a user, once per key.
func (x *explainer) row(pk PrimaryKey) *Row {
	if pk.IsZero() || x.err != nil {
		return nil
	}
	if row, ok := x.rows[pk]; ok {
		return row
	}
	if len(x.rows) == maxLookups {
		x.Incomplete = true
		return nil
	}
	row, err := x.lookup(pk)
	if err != nil {
		row = nil
		if pk.Kind() == x.t.settings.Encoding.Kind() {
			x.err = err
		}
	}
	x.rows[pk] = row
	return row
}

// isAuthentic reports whether a text is a valid token, except for its age and
// an inactive user.
func (x *explainer) isAuthentic(text string) bool {
	parsed, err := x.t.Parse(text, x.want)
	if err != nil && reasonOf(err) != Expired {
		return false
	}
	parsed.refused = 0
	row := x.row(parsed.pk)
	return row != nil && x.t.Verify(&parsed, row.User) == nil
}

// add adds a finding unless it was already added.
func (x *explainer) add(findings ...Finding) {
	for _, f := range findings {
		same := func(g Finding) bool {
			return g.Cause == f.Cause && g.Setting == f.Setting && (g.There == f.There || f.Certainty != Certain)
		}
		if !slices.ContainsFunc(x.Findings, same) {
			x.Findings = append(x.Findings, f)
		}
	}
}

// explainValid adds notes about a valid token.
func (x *explainer) explainValid(token string, j *judgement) {
	x.Authentic = true
	x.hold(j.parsed.reading(x.t.settings.Encoding))
	if n := x.fallbackOf(token, &j.parsed, j.row.User); n > 0 {
		x.add(Finding{
			Cause: CauseFallback, Certainty: Certain, Setting: "secret_key_fallbacks",
			Text: fmt.Sprintf("signed with key %d of secret_key_fallbacks: it is valid only while that key stays there", n),
		})
	}
	x.addFuture(Certain)
}

// fallbackOf returns the number of the fallback key that signed a valid token,
// from 1, or 0 for secret_key.
func (x *explainer) fallbackOf(token string, p *Parsed, user User) int {
	if p.version == V1 {
		value, signature := cutLast(token)
		return slices.IndexFunc(x.t.signerKeys, func(key []byte) bool { return signV1(key, value) == signature })
	}
	s := x.t.scratches.Get().(*scratch)
	defer x.t.scratches.Put(s)
	message, _ := x.t.appendRevocationKey(slices.Clone(p.data[:p.mark]), user) // it is complete: the token is valid
	s.message = append(message, p.scope...)
	return slices.IndexFunc(x.t.verify, func(state blake2bState) bool {
		return string(s.sign(state)) == string(p.data[p.mark:p.size])
	})
}

// reading is a way to read a token's data.
type reading struct {
	packer  string // as in Settings.Packer
	pack    Packer
	dated   bool
	pk      PrimaryKey
	created int64
	size    int // of the signature, in bytes
	version Version
}

func (p *Parsed) reading(pack Packer) reading {
	return reading{pack: pack, dated: p.dated, pk: p.pk, created: p.created, size: p.size - p.mark, version: p.version}
}

// hold copies the contents of a token to the explanation.
func (x *explainer) hold(r reading) {
	x.Version = r.version.String()
	x.PrimaryKey, x.key = r.pk.String(), r.pk
	x.Packer = ""
	if !r.pk.IsZero() {
		x.Packer = r.pack.Name()
	}
	x.SignatureSize = r.size
	if r.version == V1 {
		x.SignatureSize = 20
	}
	x.Created, x.AgeSeconds, x.Expires = nil, nil, nil
	if !r.dated {
		return
	}
	created := time.Unix(r.created, 0).UTC()
	x.Created = &created
	x.AgeSeconds = new(x.want.Now.Unix() - r.created)
	if maxAge := x.maxAge(); maxAge != nil {
		x.Expires = new(created.Add(*maxAge))
	}
}

// maxAge returns the max_age that applies, or nil.
func (x *explainer) maxAge() *time.Duration {
	if x.t.settings.MaxAge != nil && x.want.MaxAge != nil {
		return x.want.MaxAge
	}
	return x.t.settings.MaxAge
}

// clockTolerance is how far the clocks of two machines may differ before a
// finding says so.
const clockTolerance = 5 * time.Second

// addFuture adds a finding if the token was made in the future.
func (x *explainer) addFuture(certainty Certainty) {
	if x.Created == nil || !x.Created.After(x.want.Now.Add(clockTolerance)) {
		return
	}
	x.add(Finding{
		Cause: CauseFromFuture, Certainty: certainty,
		Text: fmt.Sprintf("made %s after now: the clock here, or where it was made, is wrong; this alone doesn't make it invalid",
			roundDuration(x.Created.Sub(x.want.Now))),
	})
}

// finish sorts the findings.
func (x *explainer) finish() {
	rank := map[Certainty]int{Certain: 0, Likely: 1, Possible: 2}
	slices.SortStableFunc(x.Findings, func(a, b Finding) int { return rank[a.Certainty] - rank[b.Certainty] })
	for i := range x.Findings {
		x.Findings[i].Remedy = remedies[x.Findings[i].Cause]
	}
	if x.Findings == nil {
		x.Findings = []Finding{} // [] in JSON, not null
	}
}
