package token

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"golang.org/x/crypto/blake2b"
)

// django-sesame uses BLAKE2b with a personalization (RFC 7693 and section 2.8
// of the BLAKE2 paper), for which golang.org/x/crypto/blake2b has no function.
// But a personalization is only a part of the parameter block, which is XORed
// into the initial state; and the package lets that state be saved, and set to
// a saved one. So the state is saved, changed and set again, and the package's
// own compression function does the rest.
//
// The saved state, from the package's MarshalBinary: the magic "b2b", eight
// words of state, two of counter (all big-endian), the digest's size, the
// buffered block, and how much of that block is filled.
const (
	stateWords   = len("b2b")
	stateCounter = stateWords + 8*8
	stateSize    = stateCounter + 2*8
	stateBlock   = stateSize + 1
	stateFilled  = stateBlock + blake2b.BlockSize
	stateLen     = stateFilled + 1
)

// blake2bState is the saved state of a BLAKE2b hash after its parameters and
// key, before any data.
type blake2bState []byte

// resumableHash is the type of hashes without a key from blake2b.New512.
type resumableHash interface {
	hash.Hash
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// newBlake2b returns a hash with a state that can be set.
func newBlake2b() (resumableHash, error) {
	h, err := blake2b.New512(nil)
	if err != nil {
		return nil, fmt.Errorf("making a BLAKE2b hash: %w", err)
	}
	resumable, ok := h.(resumableHash)
	if !ok {
		return nil, fmt.Errorf("golang.org/x/crypto/blake2b no longer lets its state be saved and set")
	}
	return resumable, nil
}

// newBlake2bState makes the state of a BLAKE2b with a digest of size bytes (1
// to 64), a key (none, or up to 64 bytes) and a personalization of up to 16
// bytes. With a key, at least a byte of data must follow.
func newBlake2bState(size int, key []byte, person string) (blake2bState, error) {
	switch {
	case size < 1 || size > blake2b.Size:
		return nil, fmt.Errorf("BLAKE2b can't make a digest of %d bytes: 1 to %d", size, blake2b.Size)
	case len(key) > blake2b.Size:
		return nil, fmt.Errorf("BLAKE2b can't take a key of %d bytes: at most %d", len(key), blake2b.Size)
	case len(person) > 16:
		return nil, fmt.Errorf("BLAKE2b can't take a personalization of %d bytes: at most 16", len(person))
	}
	h, err := newBlake2b()
	if err != nil {
		return nil, err
	}
	state, err := h.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("saving the state of BLAKE2b: %w", err)
	}
	if len(state) != stateLen {
		return nil, fmt.Errorf("the saved state of BLAKE2b has %d bytes instead of %d: golang.org/x/crypto/blake2b has changed its format", len(state), stateLen)
	}

	// Parameter block: byte 0 the digest's size, which is 64 so far, byte 1
	// the key's; bytes 48 to 63, words 6 and 7, the personalization.
	var personBytes [16]byte
	copy(personBytes[:], person)
	xorWord(state, 0, uint64(size^blake2b.Size)|uint64(len(key))<<8)
	xorWord(state, 6, binary.LittleEndian.Uint64(personBytes[:8]))
	xorWord(state, 7, binary.LittleEndian.Uint64(personBytes[8:]))
	state[stateSize] = byte(size)
	if len(key) == 0 {
		return state, nil
	}

	// The key is the first block of data. It is compressed here, once, as
	// soon as a byte follows; that byte is then taken back.
	copy(state[stateBlock:stateFilled], key)
	state[stateFilled] = blake2b.BlockSize
	if err := h.UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("setting the state of BLAKE2b: %w", err)
	}
	_, _ = h.Write([]byte{0}) // a hash never fails
	state, err = h.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("saving the state of BLAKE2b: %w", err)
	}
	state[stateFilled] = 0
	return slices.Clip(state), nil
}

// xorWord XORs x into a word of the state.
func xorWord(state []byte, word int, x uint64) {
	at := state[stateWords+8*word:]
	binary.BigEndian.PutUint64(at, binary.BigEndian.Uint64(at)^x)
}

// sum appends the digest of data to dst. It allocates nothing if dst has room.
func (s blake2bState) sum(h resumableHash, dst, data []byte) []byte {
	if err := h.UnmarshalBinary(s); err != nil {
		// unreachable: newBlake2bState has set this very state before
		panic("token: setting the state of BLAKE2b: " + err.Error())
	}
	_, _ = h.Write(data) // a hash never fails
	return h.Sum(dst)
}
