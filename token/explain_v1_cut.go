package token

import (
	"crypto/subtle"
	"slices"
)

// isV1CutShort reports whether a text without a colon is the beginning of a v1
// token: its data, which may be cut short itself.
func (x *explainer) isV1CutShort(a *analysis, text string) bool {
	if !slices.Contains(x.t.settings.Versions, V1) {
		return false
	}
	s := x.newSearchV1(partsV1{data: text, value: text})
	_, r, ok := s.derive()
	if !ok {
		r, ok = s.beginning()
	}
	if !ok {
		return false
	}
	a.version, a.authentic = V1, true
	a.take(r.reading)
	a.findings = []Finding{{Cause: CauseCutShort, Certainty: Certain, Text: "a v1 token whose end is missing, from the first colon on"}}
	return true
}

// beginning reads data with a revocation key that is cut short.
func (s *searchV1) beginning() (*readingV1, bool) {
	const enough = 4 // so many bytes don't match by accident
	set := &s.x.t.settings
	data, whole := decodeV2(s.parts.data)
	if !whole || len(data) > maxDataSize {
		return nil, false
	}
	pk, rest, err := set.Encoding.Unpack(data)
	if err != nil || len(rest) < enough {
		return nil, false
	}
	row := s.x.row(pk)
	if row == nil || s.x.stretching+set.Iterations > maxStretching {
		return nil, false
	}
	s.x.stretching += set.Iterations
	key, err := s.x.t.revocationKeyV1(row.User)
	if err != nil || len(rest) > len(key) || subtle.ConstantTimeCompare(key[:len(rest)], rest) != 1 {
		return nil, false
	}
	return &readingV1{reading: reading{pack: set.Encoding, pk: pk, version: V1}, row: row}, true
}
