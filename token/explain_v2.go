package token

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// change is a setting, or something else, that differs from what is expected
// here.
type change struct {
	cause                      Cause
	setting, here, there, text string

	// atMost is how sure it is even where a signature proves it, if that proves
	// something else just as well; empty is Certain.
	atMost Certainty
}

func (c change) finding(certainty Certainty) Finding {
	if c.atMost != "" && certainty != Possible {
		certainty = c.atMost
	}
	return Finding{Cause: c.cause, Certainty: certainty, Setting: c.setting, Here: c.here, There: c.there, Text: c.text}
}

// A choice says for each dimension of the search which of its options is
// tried. Option 0 is what is set here. The dimensions come in the order in
// which causes are likely: of two that make the same signature the first is
// named.
type choice [dimensions]int

const (
	dimScope = iota
	dimLogin
	dimDated
	dimPacker
	dimSecretKey
	dimKey
	dimField
	dimPassword
	dimEmail
	dimensions
)

// each calls visit for all choices that differ from the settings here in so
// many dimensions from the given one on, until visit returns false.
func (c *choice) each(differing, from int, counts *[dimensions]int, visit func() bool) bool {
	if differing == 0 {
		return visit()
	}
	for d := from; d < dimensions; d++ {
		for option := 1; option < counts[d]; option++ {
			c[d] = option
			if !c.each(differing-1, d+1, counts, visit) {
				return false
			}
		}
		c[d] = 0
	}
	return true
}

// searchV2 looks for what makes a token's signature.
type searchV2 struct {
	x    *explainer
	data []byte
	text string

	scopes     []string
	logins     []loginForm
	packers    []packerOption
	secretKeys []secretOption
	keys       []secretOption
	fields     []string
	counts     [dimensions]int

	readings map[[2]int]*reading2
	states   map[string]blake2bState
	seed     maphash.Seed
	seen     map[uint64]struct{}
	tried    [maxSignatureSize + 1]int // signatures of each size
	weak     bool                      // signatures were left out as too short
	scratch  *scratch
}

// reading2 is a reading of a v2 token, with the row that it leads to.
type reading2 struct {
	reading
	mark int
	row  *Row // or nil
}

// loginForm is how last_login is signed.
type loginForm uint8

const (
	noLogin loginForm = iota
	awareLogin
	naiveLogin
	nullLogin // v1 only: None
)

type packerOption struct {
	name   string
	pack   Packer
	change change
}

// secretOption is a form of a secret, and what it is in words.
type secretOption struct {
	values []string // more than one for the key here and its fallbacks
	form   string
}

// noField stands for a release of django-sesame that has no PRIMARY_KEY_FIELD,
// and leaves it out of the key.
const noField = "\x00"

// Guesses at settings that the operator didn't name.
var guessedFields = []string{"pk", "id", "uuid", "username", "email", "user_id", "public_id"}

// analyzeV2 looks at a text of the form of a v2 token.
func (x *explainer) analyzeV2(text string) *analysis {
	a := &analysis{version: V2}
	data, whole := decodeV2(text)
	if !slices.Contains(x.t.settings.Versions, V2) {
		a.findings = append(a.findings, Finding{
			Cause: CauseVersion, Certainty: Likely, Setting: "tokens", Here: "v1", There: "v2",
			Text: "it has the form of a v2 token, and only v1 is accepted here",
		})
	}
	s := x.newSearchV2(text, data)
	defer x.t.scratches.Put(s.scratch)
	matches := s.run()
	if len(matches) == 0 {
		matches = s.runScopes()
	}
	a.incomplete = s.weak || x.trials >= maxTrials
	if len(matches) > 0 {
		a.authentic = true
		for i := range a.findings {
			a.findings[i].Certainty = Certain
		}
		a.take(matches[0].reading2.reading)
		for _, m := range matches {
			certainty := m.certainty
			if len(matches) > 1 && certainty == Certain {
				certainty = Likely
			}
			for _, c := range m.changes {
				a.findings = append(a.findings, c.finding(certainty))
			}
		}
		x.addFacts(a, matches[0].reading, matches[0].row)
		if !whole && !a.has(CauseCutShort) && !a.has(CauseTrailing) {
			a.findings = append(a.findings, Finding{Cause: CauseTrailing, Certainty: Certain, Text: "a character too many follows the token"})
		}
		return a
	}
	if r := s.altered(); r != nil {
		a.authentic = true
		a.add(Finding{
			Cause: CauseAltered, Certainty: Certain,
			Text: "one or two characters were changed, by mistake or on purpose; the rest is right",
		})
		a.take(r.reading)
		x.addFacts(a, r.reading, r.row)
		return a
	}
	if f, ok := x.edited(text); ok {
		a.authentic = true
		a.findings = append(a.findings, f...)
		return a
	}
	s.guess(a, whole)
	return a
}

func (a *analysis) take(r reading) {
	a.hasReading, a.reading = true, r
}

func (a *analysis) has(cause Cause) bool {
	return slices.ContainsFunc(a.findings, func(f Finding) bool { return f.Cause == cause })
}

// decodeV2 decodes base64; whole is false where the last character had to be
// left out, since no data has that length.
func decodeV2(text string) (data []byte, whole bool) {
	whole = len(text)%4 != 1
	if !whole {
		text = text[:len(text)-1]
	}
	data, _ = base64.RawURLEncoding.DecodeString(text) // isV2 has checked the alphabet
	return data, whole
}

func (x *explainer) newSearchV2(text string, data []byte) *searchV2 {
	set := &x.t.settings
	s := &searchV2{
		x: x, data: data, text: text,
		readings: make(map[[2]int]*reading2),
		states:   make(map[string]blake2bState),
		seen:     make(map[uint64]struct{}),
		seed:     maphash.MakeSeed(),
		scratch:  x.t.scratches.Get().(*scratch),
	}
	s.scopes = unique(append([]string{x.want.Scope, ""}, x.candidates.Scopes...))
	s.logins = loginForms(set, V2)
	s.packers = x.packers()
	s.secretKeys = secretForms(append([]string{set.SecretKey}, set.SecretKeyFallbacks...), x.candidates.SecretKeys)
	s.keys = secretForms([]string{set.Key}, append([]string{""}, x.candidates.Keys...))
	s.fields = unique(slices.Concat([]string{set.PrimaryKeyField}, x.candidates.PrimaryKeyFields, guessedFields, []string{noField}))
	s.counts = [dimensions]int{
		dimScope: len(s.scopes), dimLogin: len(s.logins), dimDated: 2, dimPacker: len(s.packers),
		dimSecretKey: len(s.secretKeys), dimKey: len(s.keys), dimField: len(s.fields),
		dimPassword: 2, dimEmail: 2,
	}
	return s
}

// unique returns the values without those that were there before.
func unique[T comparable](values []T) []T {
	var result []T
	for _, value := range values {
		if !slices.Contains(result, value) {
			result = append(result, value)
		}
	}
	return result
}

// loginForms are the ways in which last_login may be signed, that of the
// settings first.
func loginForms(set *Settings, version Version) []loginForm {
	zoned := awareLogin
	if !*set.UseTZ {
		zoned = naiveLogin
	}
	forms := []loginForm{noLogin, zoned}
	if set.OneTime {
		forms = []loginForm{zoned, noLogin}
	}
	if version == V1 {
		forms = append(forms, nullLogin)
	}
	return unique(append(forms, awareLogin, naiveLogin))
}

// packers are the packers that may have made the token, the one here first.
func (x *explainer) packers() []packerOption {
	set := &x.t.settings
	here := packerOption{name: set.Packer, pack: set.Encoding}
	all := []packerOption{here}
	add := func(name string, pack Packer) {
		same := func(o packerOption) bool { return o.name == name && o.pack == pack }
		if slices.ContainsFunc(all, same) {
			return
		}
		option := packerOption{name: name, pack: pack}
		if name != here.name {
			option.change = change{
				cause: CausePacker, setting: "packer", here: here.name, there: name,
				text: fmt.Sprintf("made with %s, and here %s: the path is part of the signature",
					packerInWords("SESAME_PACKER", name), packerInWords("packer", here.name)),
			}
		} else {
			option.change = change{
				cause: CausePacker, setting: "packer_encoding", here: here.pack.Name(), there: pack.Name(),
				text: fmt.Sprintf("the user's key in it was written by %s, and is read by %s here: the types of the field in Django and of the column differ, or packer_encoding is wrong",
					pack.Name(), here.pack.Name()),
			}
		}
		all = append(all, option)
	}
	encodings := []Packer{
		LongPacker, LongLongPacker, UUIDPacker, StrPacker, BytesPacker, ShortPacker,
		UnsignedLongPacker, UnsignedLongLongPacker, UnsignedShortPacker,
	}
	add("", here.pack)
	for _, pack := range encodings {
		add(djangoModule+pack.Name(), pack)
	}
	add(djangoModule+"IntPacker", LongPacker)
	add(djangoModule+"UnsignedIntPacker", UnsignedLongPacker)
	for _, name := range slices.Sorted(maps.Keys(x.candidates.Packers)) {
		add(name, x.candidates.Packers[name])
	}
	isDjangos := strings.HasPrefix(here.name, djangoModule)
	for _, pack := range encodings {
		add("", pack)
		if !isDjangos {
			add(here.name, pack)
		}
	}
	return all
}

func packerInWords(setting, name string) string {
	if name == "" {
		return setting + " isn't set"
	}
	return fmt.Sprintf("%s is %q", setting, name)
}

// reading reads the token with a packer, and with or without a timestamp. It
// is nil where the token doesn't allow it.
func (s *searchV2) reading(packer, dated int) *reading2 {
	key := [2]int{packer, dated}
	if r, ok := s.readings[key]; ok {
		return r
	}
	hasAge := (s.x.t.settings.MaxAge != nil) == (dated == 0)
	r := s.x.readV2(s.data, s.packers[packer].pack, hasAge)
	if r != nil {
		r.packer = s.packers[packer].name
		if packer == 0 || isPlausible(r.pk) || isPositive(r.pk) {
			r.row = s.x.row(r.pk)
		}
	}
	s.readings[key] = r
	return r
}

// readV2 reads a token, whatever the size of its signature.
func (x *explainer) readV2(data []byte, pack Packer, dated bool) *reading2 {
	pk, rest, err := pack.Unpack(data)
	if err != nil {
		return nil
	}
	r := &reading2{reading: reading{pack: pack, dated: dated, pk: pk, version: V2}}
	if dated {
		if len(rest) < 4 {
			return nil
		}
		r.created = v2Epoch + int64(int32(binary.BigEndian.Uint32(rest))) //nolint:gosec // two's complement is the format
		rest = rest[4:]
	}
	if len(rest) < 1 || len(rest) > maxDataSize {
		return nil
	}
	r.mark, r.size = len(data)-len(rest), len(rest)
	return r
}

// match is a choice that makes the token's signature.
type match struct {
	*reading2
	changes   []change
	certainty Certainty
}

// run tries choices with as few changes as it takes.
func (s *searchV2) run() []match {
	var matches []match
	for changes := 0; changes <= maxChanges && len(matches) == 0; changes++ {
		for _, otherSize := range []bool{false, true} {
			differing := changes
			if otherSize {
				differing-- // the size is a change, too
			}
			if differing < 0 {
				continue
			}
			var c choice
			c.each(differing, 0, &s.counts, func() bool {
				if m, ok := s.try(&c, otherSize); ok {
					matches = append(matches, m)
				}
				return s.x.trials < maxTrials
			})
		}
	}
	return matches
}

// lastNumber is the last number in a scope.
var lastNumber = regexp.MustCompile(`^(.*?)(\d+)(\D*)$`)

// runScopes tries scopes like those that are known: with another number, as
// that of another page, or written a little differently.
func (s *searchV2) runScopes() []match {
	const numbers = 10_000
	at := len(s.scopes)
	for _, scope := range s.scopes[:at] {
		if scope == "" {
			continue
		}
		others := []string{strings.TrimSuffix(scope, "/"), scope + "/", strings.TrimPrefix(scope, "/"), "/" + scope, strings.ToLower(scope), strings.TrimSpace(scope)}
		if parts := lastNumber.FindStringSubmatch(scope); parts != nil {
			for n := range numbers {
				others = append(others, parts[1]+strconv.Itoa(n)+parts[3])
			}
		}
		for _, other := range others {
			s.scopes = append(s.scopes[:at], other)
			if m, ok := s.try(&choice{dimScope: at}, false); ok {
				return []match{m}
			}
			if s.x.trials >= maxTrials {
				return nil
			}
		}
	}
	return nil
}

// try makes the signature of a choice, and compares it with the token's.
func (s *searchV2) try(c *choice, otherSize bool) (match, bool) {
	r := s.reading(c[dimPacker], c[dimDated])
	size := s.x.t.settings.SignatureSize
	if r == nil || (r.size != size) != otherSize {
		return match{}, false
	}
	for _, row := range s.rows(r) {
		message, ok := s.message(c, r, row)
		if !ok {
			continue
		}
		for _, secretKey := range s.secretKeys[c[dimSecretKey]].values {
			input := s.keyInput(c, r, secretKey)
			for _, how := range comparisons(r.size, size, c[dimPacker] == 0) {
				if !s.matches(input, message, s.data[r.mark:], how) {
					continue
				}
				found := *r
				found.row = row
				m := match{reading2: &found, changes: s.changes(c, r, row, how), certainty: s.certainty(how.compared)}
				return m, true
			}
		}
	}
	return match{}, false
}

// rows are those whose token this may be.
func (s *searchV2) rows(r *reading2) []*Row {
	rows := []*Row{r.row}
	if pk := s.x.candidates.User; !pk.IsZero() && pk != r.pk {
		if row := s.x.row(pk); row != nil {
			rows = append(rows, row)
		}
	}
	return rows
}

// message is what is signed. It is not ok for what depends on a row where
// there is none, or on a column that is NULL.
func (s *searchV2) message(c *choice, r *reading2, row *Row) ([]byte, bool) {
	set := s.x.t.settings
	set.InvalidateOnPasswordChange = new(*set.InvalidateOnPasswordChange == (c[dimPassword] == 0))
	set.InvalidateOnEmailChange = set.InvalidateOnEmailChange == (c[dimEmail] == 0)
	login := s.logins[c[dimLogin]]
	set.OneTime = login != noLogin
	set.UseTZ = new(login != naiveLogin)
	var user User
	if row != nil {
		user = row.User
	} else if *set.InvalidateOnPasswordChange || set.InvalidateOnEmailChange || set.OneTime {
		return nil, false
	}
	message := append(s.scratch.message[:0], s.data[:r.mark]...)
	message, err := (&Tokens{settings: set}).appendRevocationKey(message, user)
	message = append(message, s.scopes[c[dimScope]]...)
	s.scratch.message = message
	return message, err == nil
}

// keyInput is what the signing key is derived from.
func (s *searchV2) keyInput(c *choice, r *reading2, secretKey string) string {
	hasMaxAge := ""
	if r.dated {
		hasMaxAge = "max_age"
	}
	parts := []string{secretKey, s.keys[c[dimKey]].values[0], hasMaxAge, r.packer}
	if field := s.fields[c[dimField]]; field != noField {
		parts = append(parts, field)
	}
	return strings.Join(parts, "|")
}

// comparison is how a signature is compared: of which size it is made, and how
// many bytes of it are there.
type comparison struct{ made, compared int }

// comparisons are the ways in which a signature of a size may come from one of
// the size here: as it is, made shorter or longer, or cut short, or with
// something behind it.
func comparisons(size, here int, samePacker bool) []comparison {
	var all []comparison
	if size <= maxSignatureSize {
		all = append(all, comparison{size, size})
	}
	if size != here && samePacker {
		all = append(all, comparison{here, min(size, here)})
	}
	return all
}

// matches makes a signature with the key derived from input.
func (s *searchV2) matches(input string, message, signature []byte, how comparison) bool {
	if how.compared < 8 && s.tried[how.compared] >= 1<<(8*how.compared)/20 {
		s.weak = true // one of them would match by accident
		return false
	}
	var h maphash.Hash
	h.SetSeed(s.seed)
	_ = h.WriteByte(byte(how.made)) // a maphash never fails
	_, _ = h.WriteString(input)
	_ = h.WriteByte(0)
	_, _ = h.Write(message)
	sum := h.Sum64()
	if _, ok := s.seen[sum]; ok {
		return false // with fewer changes
	}
	s.seen[sum] = struct{}{}
	s.x.trials++
	s.tried[how.compared]++
	made := s.sign(input, message, how.made)
	return subtle.ConstantTimeCompare(made[:how.compared], signature[:how.compared]) == 1
}

// sign makes a signature. It is good until the next call.
func (s *searchV2) sign(input string, message []byte, size int) []byte {
	id := string(rune(size)) + input
	state, ok := s.states[id]
	if !ok {
		state = v2State(s.scratch.hash, input, size)
		s.states[id] = state
	}
	return state.sum(s.scratch.hash, s.scratch.signature[:0], message)
}

// v2State derives a signing key.
func v2State(h resumableHash, input string, size int) blake2bState {
	derivation, err := newBlake2bState(64, nil, v2KeyPerson)
	if err == nil {
		var state blake2bState
		if state, err = newBlake2bState(size, derivation.sum(h, nil, []byte(input)), v2TokenPerson); err == nil {
			return state
		}
	}
	// unreachable: deriveV2Keys has made such states before
	panic("token: " + err.Error())
}

// certainty is how sure a match of so many bytes is, after all that was tried.
func (s *searchV2) certainty(size int) Certainty {
	return certaintyOfTrials(size, s.tried[size])
}

func certaintyOfTrials(size, trials int) Certainty {
	accident := float64(trials)
	for range size {
		accident /= 256
	}
	switch {
	case accident < 1e-6:
		return Certain
	case accident < 0.02:
		return Likely
	default:
		return Possible
	}
}

// changes are what is different in a choice.
func (s *searchV2) changes(c *choice, r *reading2, row *Row, how comparison) []change {
	set := &s.x.t.settings
	var all []change
	if c[dimScope] > 0 {
		all = append(all, scopeChange(s.x.want.Scope, s.scopes[c[dimScope]]))
	}
	if c[dimLogin] > 0 {
		all = append(all, s.x.loginChanges(s.logins[0], s.logins[c[dimLogin]], V2, r.reading, row)...)
	}
	if c[dimDated] > 0 {
		all = append(all, maxAgeChange(set.MaxAge != nil))
	}
	if c[dimPacker] > 0 {
		all = append(all, s.packers[c[dimPacker]].change)
	}
	if c[dimSecretKey] > 0 {
		all = append(all, secretChange(CauseSecretKey, "secret_key", "Django's SECRET_KEY", s.secretKeys[c[dimSecretKey]]))
	}
	if c[dimKey] > 0 {
		all = append(all, secretChange(CauseKey, "key", "SESAME_KEY", s.keys[c[dimKey]]))
	}
	if c[dimField] > 0 {
		all = append(all, fieldChange(set.PrimaryKeyField, s.fields[c[dimField]]))
	}
	if c[dimPassword] > 0 {
		all = append(all, switchChange(CauseOnPasswordChange, "invalidate_on_password_change", *set.InvalidateOnPasswordChange))
	}
	if c[dimEmail] > 0 {
		all = append(all, switchChange(CauseOnEmailChange, "invalidate_on_email_change", set.InvalidateOnEmailChange))
	}
	switch {
	case how.made != set.SignatureSize:
		all = append(all, sizeChange(set.SignatureSize, how.made))
	case r.size < set.SignatureSize:
		all = append(all, change{cause: CauseCutShort, text: "the end of the token is missing; what is there is right"})
	case r.size > set.SignatureSize:
		all = append(all, change{cause: CauseTrailing, text: "letters, digits, - or _ follow the token, which don't belong to it"})
	}
	if row != nil && row != r.row && c[dimField] == 0 {
		all = append(all, change{
			cause: CauseOtherUser,
			text:  "made for the user that was named, whose primary key is another one here: another database, or a key that has changed",
		})
	}
	return all
}

// addFacts adds what the row and the clock say.
func (x *explainer) addFacts(a *analysis, r reading, row *Row) {
	if maxAge := x.maxAge(); maxAge != nil && r.dated && x.isExpired(r) {
		a.findings = append(a.findings, x.expired(r))
	}
	if row != nil && !row.Active {
		a.findings = append(a.findings, Finding{
			Cause: CauseInactiveUser, Certainty: Certain, Text: "the user's row says that they may not log in (is_active)",
		})
	}
}

// altered finds a token in which one or two characters are wrong. It returns
// what the token was before, or nil.
func (s *searchV2) altered() *reading2 {
	const minSize = 4 // bytes of a signature, below which accidents are likely
	var c choice
	r := s.reading(0, 0)
	size := s.x.t.settings.SignatureSize
	if r == nil || r.size != size || size < minSize {
		return nil
	}
	if before := s.withOtherKey(r); before != nil {
		return before
	}
	if r.row == nil {
		return nil
	}
	message, ok := s.message(&c, r, r.row)
	if !ok {
		return nil
	}
	message = slices.Clone(message)
	for _, secretKey := range s.secretKeys[0].values {
		input := s.keyInput(&c, r, secretKey)
		expected := append(slices.Clone(s.data[:r.mark]), s.sign(input, message, size)...)
		if differing(base64.RawURLEncoding.EncodeToString(expected), s.text) <= 2 {
			return r
		}
		if before := s.withOtherTime(r, input, message); before != nil {
			return before
		}
	}
	return nil
}

// withOtherKey looks whether the primary key was changed, from that of the user
// whose token it should be.
func (s *searchV2) withOtherKey(r *reading2) *reading2 {
	pk := s.x.candidates.User
	row := s.x.row(pk)
	start := r.mark
	if r.dated {
		start -= 4
	}
	data, err := r.pack.Pack(nil, pk)
	if row == nil || err != nil || len(data) != start {
		return nil
	}
	data = append(data, s.data[start:]...)
	before := s.x.readV2(data, r.pack, r.dated)
	if before == nil {
		return nil
	}
	var c choice
	s.data, data = data, s.data
	message, ok := s.message(&c, before, row)
	s.data = data
	if !ok {
		return nil
	}
	for _, secretKey := range s.secretKeys[0].values {
		if string(s.sign(s.keyInput(&c, r, secretKey), message, r.size)) == string(s.data[r.mark:]) {
			before.row = row
			return before
		}
	}
	return nil
}

// withOtherTime looks for the timestamp that a character was changed in: that
// changes all of the signature.
func (s *searchV2) withOtherTime(r *reading2, input string, message []byte) *reading2 {
	if !r.dated {
		return nil
	}
	start := r.mark - 4
	for at := start * 8 / 6; at < (r.mark*8+5)/6; at++ {
		for _, letter := range []byte(base64Letters) {
			text := []byte(s.text)
			text[at] = letter
			data, _ := decodeV2(string(text))
			if string(data[:start]) != string(s.data[:start]) {
				continue
			}
			copy(message, data[:r.mark])
			if string(s.sign(input, message, r.size)) != string(data[r.mark:]) {
				continue
			}
			if before := s.x.readV2(data, r.pack, true); before != nil {
				before.row = r.row
				return before
			}
		}
	}
	return nil
}

const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// differing counts the characters in which two texts of a length differ.
func differing(a, b string) int {
	n := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n + max(len(a), len(b)) - min(len(a), len(b))
}

// edited finds a token whose start was lost, or that has something in front.
func (x *explainer) edited(text string) ([]Finding, bool) {
	if x.t.settings.SignatureSize < 4 {
		return nil, false // too many matches are accidents
	}
	if rest, ok := strings.CutPrefix(text, "3D"); ok && x.isAuthentic(rest) {
		return []Finding{{
			Cause: CauseQuotedPrintable, Certainty: Certain,
			Text: "3D stands in front of it: the rest of =3D, by which a mail in quoted-printable writes =",
		}}, true
	}
	for n := 1; n <= 4; n++ {
		// Numbers that count users begin with zeros, and so their tokens with A.
		if x.isAuthentic(strings.Repeat("A", n) + text) {
			return []Finding{{
				Cause: CauseCutStart, Certainty: Certain, Text: fmt.Sprintf("characters are missing at its start: %d", n),
			}}, true
		}
		if n < len(text) && x.isAuthentic(text[n:]) {
			return []Finding{{
				Cause: CauseLeading, Certainty: Certain, Text: fmt.Sprintf("characters stand in front of it that don't belong to it: %d", n),
			}}, true
		}
	}
	return nil, false
}
