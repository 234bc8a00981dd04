package rawuri

import (
	"math/rand/v2"
	"testing"
)

// TestPlainTellsWhereBytesStand undoes the encoding of each byte by itself, in
// texts with nested, cut and overlapping escapes.
func TestPlainTellsWhereBytesStand(t *testing.T) {
	t.Parallel()
	const alphabet = "%%%%2534561sS=&"
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // texts for a test
	for range 20_000 {
		text := make([]byte, random.IntN(24))
		for i := range text {
			text[i] = alphabet[random.IntN(len(alphabet))]
		}
		p := newPlain(string(text))
		if p.offset(p.len()) != len(text) {
			t.Fatalf("%q ends at %d", text, p.offset(p.len()))
		}
		for i := range p.len() {
			piece := string(text[p.offset(i) : p.offset(i)+p.width(i)])
			for before := ""; piece != before; {
				before, piece = piece, decodeOnce(piece)
			}
			if piece != string([]byte{p.at(i)}) {
				t.Fatalf("byte %d of %q is %q, and not %q", i, text, p.at(i), piece)
			}
		}
		p.free()
	}
}

// decodeOnce undoes one level of percent-encoding.
func decodeOnce(text string) string {
	var decoded []byte
	for i := 0; i < len(text); {
		if text[i] == '+' {
			decoded, i = append(decoded, '+'), i+1
			continue
		}
		c, size := decodeByte(text[i:])
		decoded, i = append(decoded, c), i+size
	}
	return string(decoded)
}
