package token

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// altered finds out whether one or two characters of the token are wrong. It
// returns the original reading, or nil.
func (s *searchV2) altered() *reading2 {
	const minSize = 4 // bytes of a signature; fewer match by accident
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

// withOtherKey finds out whether the primary key in the token was changed,
// from the key of the user that it should be for.
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

// withOtherTime searches for the original of a timestamp in which a character
// was changed, which makes the whole signature wrong.
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

// differing counts the characters in which two texts of equal length differ.
func differing(a, b string) int {
	n := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n + max(len(a), len(b)) - min(len(a), len(b))
}

// edited finds a token that has lost its beginning, or has other characters in
// front.
func (x *explainer) edited(text string) ([]Finding, bool) {
	if x.t.settings.SignatureSize < 4 {
		return nil, false // with more, matches would be accidents
	}
	if rest, ok := strings.CutPrefix(text, "3D"); ok && x.isAuthentic(rest) {
		return []Finding{{
			Cause: CauseQuotedPrintable, Certainty: Certain,
			Text: "3D precedes it: the rest of =3D, which stands for = in quoted-printable mails",
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
				Cause: CauseLeading, Certainty: Certain, Text: fmt.Sprintf("characters that don't belong to it precede it: %d", n),
			}}, true
		}
	}
	return nil, false
}
