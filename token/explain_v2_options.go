package token

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// change is a setting or another input that differs from the expected one.
type change struct {
	cause                      Cause
	setting, here, there, text string

	// atMost limits the certainty, if a matching signature proves another
	// cause equally well; empty means Certain.
	atMost Certainty
}

func (c change) finding(certainty Certainty) Finding {
	if c.atMost != "" && certainty != Possible {
		certainty = c.atMost
	}
	return Finding{Cause: c.cause, Certainty: certainty, Setting: c.setting, Here: c.here, There: c.there, Text: c.text}
}

// A choice has the index of the option to try, for each dimension of the
// search. Option 0 is the setting here. The dimensions are ordered by
// likelihood: of two causes that make the same signature, the first is
// reported.
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

// each calls visit with all choices that differ from the settings here in
// exactly differing dimensions, from dimension from on, until visit returns
// false.
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

// searchV2 searches for the settings that make a token's signature.
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
	weak     bool                      // signatures were skipped as too short
	scratch  *scratch
}

// loginForm is a form in which last_login is signed.
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

// secretOption is a form of a secret, and its description.
type secretOption struct {
	values []string // several for the key here and its fallbacks
	form   string
}

// noField stands for a release of django-sesame without PRIMARY_KEY_FIELD,
// which isn't part of the key then.
const noField = "\x00"

// Guesses of settings that the operator didn't name.
var guessedFields = []string{"pk", "id", "uuid", "username", "email", "user_id", "public_id"}

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

// unique returns the values without repetitions.
func unique[T comparable](values []T) []T {
	var result []T
	for _, value := range values {
		if !slices.Contains(result, value) {
			result = append(result, value)
		}
	}
	return result
}

// loginForms returns the forms in which last_login may be signed, the one of
// the settings first.
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

// packers returns the packers that may have made the token, the one here
// first.
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
