package token

import (
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// reading2 is a reading of a v2 token, with the row that it leads to.
type reading2 struct {
	reading
	mark int
	row  *Row // or nil
}

// analyzeV2 reads a text with the form of a v2 token.
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

// decodeV2 decodes base64. whole is false if the last character was ignored,
// since no data has a base64 form of that length.
func decodeV2(text string) (data []byte, whole bool) {
	whole = len(text)%4 != 1
	if !whole {
		text = text[:len(text)-1]
	}
	data, _ = base64.RawURLEncoding.DecodeString(text) // isV2 has checked the alphabet
	return data, whole
}

// reading reads the token with a packer, and with or without a timestamp. It
// returns nil if the token can't be read so.
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

// match is a choice of settings that makes the token's signature.
type match struct {
	*reading2
	changes   []change
	certainty Certainty
}

// run tries choices with few changes first.
func (s *searchV2) run() []match {
	var matches []match
	for changes := 0; changes <= maxChanges && len(matches) == 0; changes++ {
		for _, otherSize := range []bool{false, true} {
			differing := changes
			if otherSize {
				differing-- // the size counts as a change
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

// lastNumber matches the last number in a scope.
var lastNumber = regexp.MustCompile(`^(.*?)(\d+)(\D*)$`)

// runScopes tries scopes that are similar to the known ones: with another number,
// as for another page, or with another spelling.
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

// try makes the signature of a choice and compares it with the token's.
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
			for _, how := range comparisons(r.size, size, c) {
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

// rows returns the rows that the token may belong to.
func (s *searchV2) rows(r *reading2) []*Row {
	rows := []*Row{r.row}
	if pk := s.x.candidates.User; !pk.IsZero() && pk != r.pk {
		if row := s.x.row(pk); row != nil {
			rows = append(rows, row)
		}
	}
	return rows
}

// message returns the signed bytes. ok is false if they depend on a missing
// row, or on a column that is NULL.
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

// keyInput returns the input from which the signing key is derived.
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
