package base64url

import (
	"bytes"
	"testing"
)

// FuzzDecode: each value has one text.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "AQ", "AR", "AQ==", "A\nQ", "_-8", "/+8", "A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if data, err := Decode(text); err == nil && Encode(data) != text {
			t.Errorf("%q is read as %x, which is written %q", text, data, Encode(data))
		}
	})
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		data := bytes.Repeat([]byte{0xfb}, n)
		if read, err := Decode(Encode(data)); err != nil || !bytes.Equal(read, data) {
			t.Errorf("%d bytes are read as %x: %v", n, read, err)
		}
	}
}
