package token

import (
	"crypto/subtle"
	"hash/maphash"
)

// comparison says how a signature is compared: its original size, and how many
// of its bytes are present.
type comparison struct{ made, compared int }

// comparisons returns the ways in which a signature of some size can result
// from one of the size here: unchanged, made with another size, cut short, or
// with text behind it.
func comparisons(size, here int, c *choice) []comparison {
	var all []comparison
	const shortest = 4 // bytes; with many tries, shorter signatures match by accident
	if size <= maxSignatureSize && (size >= shortest || size == here || *c == choice{}) {
		all = append(all, comparison{size, size})
	}
	if size != here && c[dimPacker] == 0 {
		all = append(all, comparison{here, min(size, here)})
	}
	return all
}

// matches makes a signature with the key derived from input.
func (s *searchV2) matches(input string, message, signature []byte, how comparison) bool {
	if how.compared < 8 && s.tried[how.compared] >= 1<<(8*how.compared)/20 {
		s.weak = true // one of so many would match by accident
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
		return false // already found, with fewer changes
	}
	s.seen[sum] = struct{}{}
	s.x.trials++
	s.tried[how.compared]++
	made := s.sign(input, message, how.made)
	return subtle.ConstantTimeCompare(made[:how.compared], signature[:how.compared]) == 1
}

// sign makes a signature, which is valid until the next call.
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

// certainty returns the certainty of a match of so many bytes, after so many
// tries.
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

// changes returns the settings that differ in a choice.
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
