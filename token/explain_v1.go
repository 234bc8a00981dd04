package token

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // v1 tokens use it
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// partsV1 are the parts of a v1 token, as far as they are present.
type partsV1 struct {
	value     string // the signed text: data, and the timestamp with its colon
	data      string
	timestamp string // empty for none
	signature string
}

// splitV1 splits a text at its colons. ok is false if there are too many, or
// if the second of three parts isn't a timestamp.
func splitV1(text string) (p partsV1, ok bool) {
	p.value, p.signature = cutLast(text)
	p.data = p.value
	if strings.ContainsRune(p.value, ':') {
		p.data, p.timestamp = cutLast(p.value)
		if !isTimestampV1(p.timestamp) {
			return p, false
		}
	} else if isTimestampV1(p.signature) {
		// Cut short at the second colon.
		p.data, p.timestamp, p.signature = p.value, p.signature, ""
		p.value = text
	}
	return p, p.data != "" && isBase64URL(p.data) && isBase64URL(p.signature)
}

func isTimestampV1(s string) bool {
	return len(s) == v1TimestampLen && strings.Trim(s, base62) == ""
}

// The dimensions of the search for a v1 token's revocation key.
const (
	dimV1Login = iota
	dimV1Reading
	dimV1Iterations
	dimV1Password
	dimV1Email
	dimV1Salt
)

// searchV1 searches for the settings that make a v1 token's signature and
// revocation key.
type searchV1 struct {
	x     *explainer
	parts partsV1

	// The outer signature.
	secretKeys []secretOption
	salts      []secretOption
	secretKey  int // the options that make it, or -1
	salt       int
	cut        bool // as far as it is present
	trailing   bool // with text behind it
	near       bool // except one or two characters
	sha256     bool // with the algorithm of a django-sesame older than 2.0.1

	readings   []readingV1
	logins     []loginForm
	iterations []int
}

// readingV1 is a reading of a v1 token's data: with a packer, a digest of the
// size of the rest, and the row that the key leads to.
type readingV1 struct {
	reading
	key    []byte // the revocation key
	digest string
	row    *Row // or nil
	isHere bool
}

// digests are the digests that SESAME_DIGEST can name.
var digests = []string{"md5", "sha1", "sha256", "sha512"}

// analyzeV1 reads a text with the form of a v1 token, or of the beginning of
// one.
func (x *explainer) analyzeV1(text string) *analysis {
	parts, ok := splitV1(text)
	if !ok {
		return nil
	}
	a := &analysis{version: V1}
	s := x.newSearchV1(parts)
	s.sign()
	changes, r, isKeyRight := s.derive()
	a.authentic = isKeyRight && (s.secretKey >= 0 || s.cut || s.trailing || s.near || s.sha256)
	a.incomplete = x.stretching >= maxStretching

	s.addSettings(a, isKeyRight)
	s.addOuter(a, isKeyRight)
	if isKeyRight {
		for _, c := range changes {
			a.add(c.finding(Certain))
		}
	}
	if r != nil {
		a.take(r.reading)
		a.fits = r.row != nil
		if isKeyRight || s.secretKey >= 0 {
			x.addFacts(a, r.reading, r.row)
		}
	}
	if isKeyRight {
		return a
	}
	if s.secretKey >= 0 {
		s.explainData(a, r)
		return a
	}
	if f, ok := x.edited(text); ok {
		a.authentic = true
		a.findings = f
		return a
	}
	if r != nil {
		x.addFacts(a, r.reading, r.row)
		x.addUser(a, r.reading, r.row)
	}
	x.addSecretKeyPossible(a)
	return a
}

// addSettings adds settings here that v1 tokens don't support.
func (s *searchV1) addSettings(a *analysis, isKeyRight bool) {
	x := s.x
	certainty := Likely
	if s.secretKey >= 0 || isKeyRight {
		certainty = Certain
	}
	if !slices.Contains(x.t.settings.Versions, V1) {
		a.add(Finding{
			Cause: CauseVersion, Certainty: certainty, Setting: "tokens", Here: "v2", There: "v1",
			Text: "it is a v1 token, and only v2 is accepted here",
		})
	}
	if isDated := s.parts.timestamp != ""; isDated != (x.t.settings.MaxAge != nil) && !(s.cut && !isDated) {
		a.add(maxAgeChange(x.t.settings.MaxAge != nil).finding(certainty))
	}
	if x.want.Scope != "" {
		a.add(Finding{
			Cause: CauseScopeOfV1, Certainty: Certain, Setting: "scope", Here: x.want.Scope,
			Text: fmt.Sprintf("v1 tokens have no scope, and the scope %q is expected here", x.want.Scope),
		})
	}
	if x.want.MaxAge != nil {
		a.add(Finding{
			Cause: CauseMaxAgeOfV1, Certainty: Certain, Setting: "max_age",
			Text: "the max_age of a v1 token can't be overridden",
		})
	}
}

// explainData adds possible causes for a token with a valid outer signature.
func (s *searchV1) explainData(a *analysis, r *readingV1) {
	if r == nil {
		a.add(Finding{
			Cause: CausePacker, Certainty: Certain, Setting: "packer", Here: s.x.t.settings.Encoding.Name(),
			Text: "its signature is right, and no packer and digest read what it holds: a packer of your own made it, or a digest that isn't supported",
		})
		return
	}
	for _, c := range s.readingChanges(r) {
		a.add(c.finding(Likely))
	}
	s.x.addUser(a, r.reading, r.row)
	a.preferRevoked()
}

// preferRevoked makes changes of the row likely causes: the secret key is
// right, so little else is possible.
func (a *analysis) preferRevoked() {
	for i, f := range a.findings {
		switch f.Cause {
		case CauseUsed, CausePassword, CauseEmail:
			a.findings[i].Certainty = Likely
		default:
		}
	}
	if !a.has(CauseUnknownUser) && !a.has(CauseIncompleteUser) {
		a.add(Finding{Cause: CauseIterations, Certainty: Possible, Setting: "iterations", Text: "made with other SESAME_ITERATIONS"})
	}
}

func (a *analysis) add(f Finding) { a.findings = append(a.findings, f) }

func (x *explainer) newSearchV1(parts partsV1) *searchV1 {
	set := &x.t.settings
	s := &searchV1{x: x, parts: parts, secretKey: -1}
	s.secretKeys = secretForms(append([]string{set.SecretKey}, set.SecretKeyFallbacks...), x.candidates.SecretKeys)
	s.salts = secretForms([]string{set.Salt}, append([]string{"sesame"}, x.candidates.Salts...))
	s.logins = loginForms(set, V1)
	if set.OneTime {
		// Without a login, the form here is None.
		s.logins = unique(append([]loginForm{s.logins[0], nullLogin}, s.logins...))
	}
	s.iterations = unique(append([]int{set.Iterations, 10000}, x.candidates.Iterations...))
	s.iterations = slices.DeleteFunc(s.iterations, func(n int) bool { return n < 1 })
	s.read()
	return s
}

// read adds the possible readings of the token's data to the search, first the
// one by the settings here.
func (s *searchV1) read() {
	x, parts, set := s.x, s.parts, &s.x.t.settings
	data, err := base64.RawURLEncoding.DecodeString(parts.data)
	if err != nil || len(data) > maxDataSize {
		return
	}
	for i, option := range x.packers() {
		pk, key, err := option.pack.Unpack(data)
		if err != nil || i > 0 && !isPlausible(pk) {
			continue
		}
		for _, digest := range digests {
			newDigest, _ := digestByName(digest) // the name is known
			if newDigest().Size() != len(key) {
				continue
			}
			r := readingV1{reading: reading{pack: option.pack, pk: pk, version: V1}, key: key, digest: digest}
			if parts.timestamp != "" {
				r.dated, r.created = true, parseBase62(parts.timestamp)
			}
			r.isHere = i == 0 && digest == strings.TrimPrefix(set.Digest, "hashlib.")
			r.row = x.row(pk)
			same := func(other readingV1) bool {
				return other.row == r.row && other.digest == r.digest && len(other.key) == len(r.key)
			}
			if !slices.ContainsFunc(s.readings, same) {
				s.readings = append(s.readings, r)
			}
		}
	}
	slices.SortStableFunc(s.readings, func(a, b readingV1) int {
		if a.isHere == b.isHere {
			return 0
		}
		if a.isHere {
			return -1
		}
		return 1
	})
}

// sign searches for the key that makes the outer signature.
func (s *searchV1) sign() {
	got := s.parts.signature
	for changes := range 3 {
		for i, secretKey := range s.secretKeys {
			for j, salt := range s.salts {
				if min(i, 1)+min(j, 1) != changes {
					continue
				}
				for _, value := range secretKey.values {
					made := signV1(signerKeyV1(salt.values[0], value), s.parts.value)
					if subtle.ConstantTimeCompare([]byte(made), []byte(got)) == 1 {
						s.secretKey, s.salt = i, j
						return
					}
					const enough = 6 // so many characters don't match by accident
					if changes > 0 || len(got) < enough {
						continue
					}
					switch {
					case strings.HasPrefix(made, got):
						s.cut = true
					case strings.HasPrefix(got, made):
						s.trailing = true
					case len(got) == len(made) && differing(got, made) <= 2:
						s.near = true
					case got == signV1SHA256(salt.values[0], value, s.parts.value):
						s.sha256 = true
					}
				}
			}
		}
	}
	s.cut = s.cut || len(got) < v1SignatureLen
}

// signV1SHA256 signs as Django 3.1 and later do for a django-sesame that
// doesn't ask for SHA-1.
func signV1SHA256(salt, secretKey, value string) string {
	key := sha256.Sum256([]byte(salt + "signer" + secretKey))
	mac := hmac.New(sha256.New, key[:])
	_, _ = mac.Write([]byte(value)) // a hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// derive searches for the settings that make the revocation key. It returns the
// reading of the token for which it found them, or else the most plausible reading.
func (s *searchV1) derive() ([]change, *readingV1, bool) {
	if len(s.readings) == 0 {
		return nil, nil, false
	}
	salts := 1
	if s.secretKey < 0 {
		salts = len(s.salts) // the outer signature doesn't say which
	}
	var counts [dimensions]int
	for d := range counts {
		counts[d] = 1
	}
	counts[dimV1Login] = len(s.logins)
	counts[dimV1Reading] = len(s.readings)
	counts[dimV1Iterations] = len(s.iterations)
	counts[dimV1Password] = 2
	counts[dimV1Email] = 2
	counts[dimV1Salt] = salts
	var changes []change
	var found *readingV1
	for differing := 0; differing <= maxChanges && found == nil; differing++ {
		var c choice
		c.each(differing, 0, &counts, func() bool {
			r := &s.readings[c[dimV1Reading]]
			key, ok := s.key(&c, r)
			if ok && subtle.ConstantTimeCompare(key, r.key) == 1 {
				found, changes = r, s.changes(&c, r)
			}
			return found == nil && s.x.stretching < maxStretching
		})
	}
	if found != nil {
		return changes, found, true
	}
	if r := &s.readings[0]; r.isHere || r.row != nil {
		return nil, r, false
	}
	return nil, nil, false
}

// key returns the revocation key of a choice.
func (s *searchV1) key(c *choice, r *readingV1) ([]byte, bool) {
	if r.row == nil {
		return nil, false
	}
	set := s.x.t.settings
	user := r.row.User
	login := s.logins[c[dimV1Login]]
	switch {
	case login == nullLogin && user.LastLogin == nil && c[dimV1Login] != 0 && set.OneTime:
		return nil, false // equal to the form here
	case (login == awareLogin || login == naiveLogin) && user.LastLogin == nil && c[dimV1Login] > 0:
		return nil, false
	case login == nullLogin:
		user.LastLogin = nil
	}
	set.OneTime = login != noLogin
	set.UseTZ = new(login != naiveLogin)
	set.InvalidateOnPasswordChange = new(*set.InvalidateOnPasswordChange == (c[dimV1Password] == 0))
	set.InvalidateOnEmailChange = set.InvalidateOnEmailChange == (c[dimV1Email] == 0)
	set.Iterations = s.iterations[c[dimV1Iterations]]
	set.Salt = s.salts[s.salt+c[dimV1Salt]].values[0]
	if s.x.stretching > 0 && s.x.stretching+set.Iterations > maxStretching {
		s.x.stretching = maxStretching
		return nil, false
	}
	s.x.stretching += set.Iterations
	newDigest, _ := digestByName(r.digest) // newSearchV1 has made one before
	key, err := (&Tokens{settings: set, newDigest: newDigest}).revocationKeyV1(user)
	return key, err == nil
}

// changes returns the settings that differ in a choice.
func (s *searchV1) changes(c *choice, r *readingV1) []change {
	set := &s.x.t.settings
	var all []change
	if c[dimV1Login] > 0 {
		all = append(all, s.x.loginChanges(s.logins[0], s.logins[c[dimV1Login]], V1, r.reading, r.row)...)
	}
	all = append(all, s.readingChanges(r)...)
	if c[dimV1Iterations] > 0 {
		there := s.iterations[c[dimV1Iterations]]
		all = append(all, change{
			cause: CauseIterations, setting: "iterations", here: strconv.Itoa(set.Iterations), there: strconv.Itoa(there),
			text: fmt.Sprintf("made with SESAME_ITERATIONS = %d, and iterations is %d here", there, set.Iterations),
		})
	}
	if c[dimV1Password] > 0 {
		all = append(all, switchChange(CauseOnPasswordChange, "invalidate_on_password_change", *set.InvalidateOnPasswordChange))
	}
	if c[dimV1Email] > 0 {
		all = append(all, switchChange(CauseOnEmailChange, "invalidate_on_email_change", set.InvalidateOnEmailChange))
	}
	if c[dimV1Salt] > 0 {
		all = append(all, secretChange(CauseSalt, "salt", "SESAME_SALT", s.salts[c[dimV1Salt]]))
	}
	return all
}

// readingChanges returns the settings that differ in a reading.
func (s *searchV1) readingChanges(r *readingV1) []change {
	set := &s.x.t.settings
	var all []change
	if r.pack != set.Encoding {
		all = append(all, change{
			cause: CausePacker, setting: "packer", here: set.Encoding.Name(), there: r.pack.Name(),
			text: fmt.Sprintf("the user's key in it was written by %s, and is read by %s here", r.pack.Name(), set.Encoding.Name()),
		})
	}
	if here := strings.TrimPrefix(set.Digest, "hashlib."); r.digest != here {
		all = append(all, change{
			cause: CauseDigest, setting: "digest", here: here, there: r.digest,
			text: fmt.Sprintf("made with SESAME_DIGEST = hashlib.%s, and digest is %s here", r.digest, here),
		})
	}
	return all
}

// addOuter adds the causes of a wrong outer signature.
func (s *searchV1) addOuter(a *analysis, isKeyRight bool) {
	switch {
	case s.secretKey >= 0:
		if s.secretKey > 0 {
			a.add(secretChange(CauseSecretKey, "secret_key", "Django's SECRET_KEY", s.secretKeys[s.secretKey]).finding(Certain))
		}
		if s.salt > 0 {
			a.add(secretChange(CauseSalt, "salt", "SESAME_SALT", s.salts[s.salt]).finding(Certain))
		}
	case s.sha256:
		a.add(Finding{Cause: CauseRelease, Certainty: Certain, Text: "signed with SHA-256, as django-sesame up to 2.0 does on Django 3.1 or later; no later one accepts it"})
	case s.cut:
		certainty := Likely
		if isKeyRight {
			certainty = Certain
		}
		a.add(Finding{Cause: CauseCutShort, Certainty: certainty, Text: "the end of the token is missing"})
	case s.trailing:
		a.add(Finding{Cause: CauseTrailing, Certainty: Certain, Text: "letters, digits, - or _ follow the token, which don't belong to it"})
	case s.near:
		a.add(Finding{Cause: CauseAltered, Certainty: Certain, Text: "one or two characters of its signature were changed; the rest is right"})
	case isKeyRight:
		a.add(Finding{
			Cause: CauseSecretKey, Certainty: Certain, Setting: "secret_key",
			Text: "signed with another SECRET_KEY: the user's part of it, which doesn't depend on that, is right",
		})
	case len(s.parts.signature) > v1SignatureLen:
		a.add(Finding{Cause: CauseTrailing, Certainty: Possible, Text: "its signature is too long: text follows the token, or it isn't a v1 token"})
	}
}

// signerKeyV1 returns the key, derived as in deriveV1Keys.
func signerKeyV1(salt, secretKey string) []byte {
	key := sha1.Sum([]byte(salt + "signer" + secretKey)) //nolint:gosec // the format
	return key[:]
}
