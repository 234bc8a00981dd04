package token

import (
	"encoding/hex"
	"testing"

	"golang.org/x/crypto/blake2b"
)

// counting is data that differs from byte to byte and from block to block.
func counting(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return data
}

// blake2bOf makes a digest from a saved state.
func blake2bOf(t *testing.T, size int, key []byte, person string, data []byte) string {
	t.Helper()
	state, err := newBlake2bState(size, key, person)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newBlake2b()
	if err != nil {
		t.Fatal(err)
	}
	first := hex.EncodeToString(state.sum(h, nil, data))
	if again := hex.EncodeToString(state.sum(h, nil, data)); again != first {
		t.Errorf("the same hash and state make %s, then %s", first, again)
	}
	return first
}

// TestBLAKE2bDigestsAreThoseOfTheLibrary compares digests without a personalization
// with those of golang.org/x/crypto/blake2b.
func TestBLAKE2bDigestsAreThoseOfTheLibrary(t *testing.T) {
	t.Parallel()
	for size := 1; size <= blake2b.Size; size++ {
		for _, keySize := range []int{0, 1, 32, 64} {
			for _, dataSize := range []int{0, 1, 127, 128, 129, 256, 1000} {
				if keySize > 0 && dataSize == 0 {
					continue // as newBlake2bState says
				}
				key, data := counting(keySize), counting(dataSize)
				h, err := blake2b.New(size, key)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = h.Write(data)
				want := hex.EncodeToString(h.Sum(nil))
				if got := blake2bOf(t, size, key, "", data); got != want {
					t.Errorf("digest of %d bytes, key of %d, data of %d: %s, want %s", size, keySize, dataSize, got, want)
				}
			}
		}
	}
}

// TestBLAKE2bWithPersonalizationIsThatOfHashlib compares with digests of Python's hashlib.blake2b.
func TestBLAKE2bWithPersonalizationIsThatOfHashlib(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		size, keySize int
		person        string
		dataSize      int
		digest        string
	}{
		{64, 0, "sesame.settings", 0, "ee5f74d941490e674bf16c8ebbe7bfe100303c90aaeeaa48e5ab7946bd39bb9061641be4e7ac66920933ad36e34f46f8a368997802a873c895d7cf7f6f14a4ea"},
		{64, 0, "sesame.settings", 200, "2b21d79d84bc7eeeb9af4a2fe0551c5ee782ce39876420a6e931fcf83d0177a3ecdca56531a8c677eeda812a83f512499bc9840566d130f5f6a58c86008d5e6b"},
		{10, 64, "sesame.tokens_v2", 1, "60298590b1eeee9fadaf"},
		{10, 64, "sesame.tokens_v2", 60, "29d12d92e6da409a85b5"},
		{1, 64, "sesame.tokens_v2", 128, "20"},
		{64, 64, "sesame.tokens_v2", 129, "334fccee1799443cb8db87318c243cbb346ea14a3092e911099910cb96d4f8d01f003ed0cd6dc80724a5f6ab8d0927958b46cf802279a7af7ba30b2f34b0b75f"},
		{32, 1, "p", 127, "8b303a0fbf7500a77f0bf8551bc3900ce6fd90331d8799f126d5a15963a93e53"},
		{16, 33, "0123456789abcdef", 257, "f6fca56074b416f2359a306e3bcf50f5"},
		{20, 64, "é", 1000, "493cd131caf469cac8cc8a66cb2f8a19aa3d8959"},
	} {
		got := blake2bOf(t, test.size, counting(test.keySize), test.person, counting(test.dataSize))
		if got != test.digest {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func TestBLAKE2bRejectsSizesOutOfBounds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		size, keySize int
		person        string
	}{
		{0, 0, ""},
		{65, 0, ""},
		{64, 65, ""},
		{64, 0, "seventeen letters"},
	} {
		if _, err := newBlake2bState(test.size, counting(test.keySize), test.person); err == nil {
			t.Errorf("accepted %+v", test)
		}
	}
}
