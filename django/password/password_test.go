package password_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

var quick = password.Parameters{
	PBKDF2Iterations: 2, Argon2Time: 1, Argon2Memory: 16, Argon2Parallelism: 2, BcryptCost: 4, ScryptWorkFactor: 2, ScryptParallelism: 1,
}

var everyAlgorithm = []password.Algorithm{
	password.PBKDF2SHA256, password.PBKDF2SHA1, password.Argon2, password.BcryptSHA256, password.Bcrypt, password.Scrypt,
	password.MD5, password.SHA1, password.UnsaltedMD5, password.UnsaltedSHA1,
}

func newHashers(t testing.TB, hashers ...password.Algorithm) *password.Hashers {
	t.Helper()
	h, err := password.New(password.Settings{Hashers: hashers, Parameters: quick})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestEachHasherAcceptsWhatItMakes(t *testing.T) {
	t.Parallel()
	for _, algorithm := range everyAlgorithm {
		h := newHashers(t, algorithm)
		for _, plain := range []string{"", "secret", "pässwörd 😀", strings.Repeat("x", 72)} {
			encoded, err := h.Make(plain)
			if err != nil {
				t.Fatal(err)
			}
			if identified, err := password.Identify(encoded); identified != algorithm || err != nil {
				t.Errorf("%s: identified as %q, %v", algorithm, identified, err)
			}
			if mustUpdate, err := h.Verify(plain, encoded); mustUpdate || err != nil {
				t.Errorf("%s: %q: must update %v, %v", algorithm, plain, mustUpdate, err)
			}
			if _, err := h.Verify("y"+plain, encoded); err != password.ErrMismatch {
				t.Errorf("%s: %v", algorithm, err)
			}
			if again, _ := h.Make(plain); again == encoded && !strings.HasPrefix(string(algorithm), "unsalted") {
				t.Errorf("%s: two hashes are the same", algorithm)
			}
		}
	}
}

// uncheckable are hashes with why they can't be checked.
var uncheckable = map[string]error{
	password.MakeUnusable():               password.ErrUnusable,
	"!":                                   password.ErrUnusable,
	"":                                    password.ErrUnknownHasher,
	"crypt$$x":                            password.ErrUnknownHasher,
	"md5$salt$" + strings.Repeat("0", 32): password.ErrUnknownHasher, // not in use
	strings.Repeat("0", 32):               password.ErrUnknownHasher,
	"pbkdf2_sha256$1$salt":                password.ErrMalformed,
	"pbkdf2_sha256$+1$salt$x":             password.ErrMalformed,
	"pbkdf2_sha256$01$salt$x":             password.ErrMalformed,
	"pbkdf2_sha256$0$salt$x":              password.ErrMalformed,
	"pbkdf2_sha256$1$$x":                  password.ErrMalformed,
	"bcrypt_sha256$$2x$04$" + strings.Repeat("u", 53):             password.ErrMalformed,
	"scrypt$3$salt$8$1$x":                                         password.ErrMalformed,
	"argon2$argon2d$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ":    password.ErrUnsupported,
	"argon2$argon2id$v=16$m=16,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ":   password.ErrUnsupported,
	"argon2$argon2id$v=19$m=7,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ":    password.ErrMalformed,
	"argon2$argon2id$v=19$m=16,t=1,p=1$c2FsdA$c2FsdHNhbHQ":        password.ErrMalformed,
	"argon2$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$c2Fsd\nHNhbHQ": password.ErrMalformed,
	"argon2$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHR$c2FsdHNhbHQ":   password.ErrMalformed,
}

func TestHashThatCantBeCheckedSaysWhy(t *testing.T) {
	t.Parallel()
	h := newHashers(t, password.DefaultHashers()...)
	for encoded, want := range uncheckable {
		if _, err := h.Verify("secret", encoded); err != want {
			t.Errorf("%q: %v, not %v", encoded, err, want)
		}
		if _, err := h.MustUpdate(encoded); err != want {
			t.Errorf("%q: MustUpdate: %v, not %v", encoded, err, want)
		}
	}
}

// TestRowCantAskForMoreThanTheLimits: if any of these were computed, the test
// would run out of memory or time.
func TestRowCantAskForMoreThanTheLimits(t *testing.T) {
	t.Parallel()
	h := newHashers(t, password.DefaultHashers()...)
	for encoded, parameter := range map[string]string{
		"pbkdf2_sha256$4294967295$salt$x":                                    "PBKDF2Iterations",
		"argon2$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ":  "Argon2Memory",
		"argon2$argon2id$v=19$m=16,t=4294967295,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ": "Argon2Time",
		"bcrypt_sha256$$2b$31$" + strings.Repeat("u", 53):                    "BcryptCost",
		"scrypt$16777216$salt$8$1$x":                                         "ScryptMemory",
		"scrypt$32768$salt$8$1$x":                                            "ScryptMemory", // OpenSSL's limit
		"scrypt$2$salt$1000000000$1$x":                                       "ScryptMemory",
		"scrypt$2$salt$1$1000000$x":                                          "ScryptMemory",
		"scrypt$2147483648$salt$67108864$1$x":                                "ScryptMemory", // 128·N·r is 2⁶⁴
		"scrypt$16384$salt$8$17$x":                                           "ScryptParallelism",
	} {
		_, err := h.Verify("secret", encoded)
		exceeded, isLimit := errors.AsType[*password.LimitError](err)
		if !isLimit || exceeded.Parameter != parameter || !strings.Contains(err.Error(), parameter) || strings.Contains(err.Error(), "salt") {
			t.Errorf("%q: %v", encoded, err)
		}
	}
}

func TestSettingsThatCantBeRightAreRejected(t *testing.T) {
	t.Parallel()
	for says, settings := range map[string]password.Settings{
		"Hashers":          {Hashers: []password.Algorithm{"crypt"}},
		"Version":          {Version: "3.2"},
		"PBKDF2Iterations": {Parameters: password.Parameters{PBKDF2Iterations: -1}},
		"Argon2Memory":     {Parameters: password.Parameters{Argon2Memory: 10}},
		"Argon2HashSize":   {Parameters: password.Parameters{Argon2HashSize: 129}},
		"BcryptCost":       {Parameters: password.Parameters{BcryptCost: 32}},
		"scrypt":           {Parameters: password.Parameters{ScryptWorkFactor: 3}},
	} {
		if _, err := password.New(settings); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestBcryptTakesNeitherNULNorMoreThan72Bytes(t *testing.T) {
	t.Parallel()
	h := newHashers(t, password.Bcrypt)
	for _, plain := range []string{"a\x00", strings.Repeat("x", 73)} {
		if _, err := h.Make(plain); err != password.ErrBcryptPassword {
			t.Errorf("%q: %v", plain, err)
		}
	}
	encoded, err := h.Make("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Verify("a\x00", encoded); err != password.ErrMismatch {
		t.Error(err)
	}
}

// TestUnknownUserTakesWorkWhateverThePassword: bcrypt refuses some passwords, which
// must not show whether the user exists. The test counts memory, which bcrypt takes
// for each hash, because time depends on the machine.
func TestUnknownUserTakesWorkWhateverThePassword(t *testing.T) {
	h := newHashers(t, password.Bcrypt)
	allocations := func(plain string) float64 {
		return testing.AllocsPerRun(3, func() { h.HardenRuntime(plain) })
	}
	usual := allocations("secret")
	for _, plain := range []string{"", "a\x00", strings.Repeat("x", 73)} {
		if got := allocations(plain); got < usual/2 { // an empty text takes one less
			t.Errorf("%q: %v allocations, %v for another password", plain, got, usual)
		}
	}
}

func Example() {
	hashers, err := password.New(password.Settings{
		Version: "5.2",
		Hashers: append(password.DefaultHashers(), password.MD5), // Django's PASSWORD_HASHERS
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	column := "md5$salt$67a1e09bb1f83f5007dc119c14d663aa"
	mustUpdate, err := hashers.Verify("password", column)
	fmt.Println(mustUpdate, err)
	// Output:
	// true <nil>
}

// BenchmarkVerify measures one check with the default parameters of Django 5.2.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range password.DefaultHashers() {
		b.Run(string(algorithm), func(b *testing.B) {
			h, err := password.New(password.Settings{Version: "5.2", Hashers: []password.Algorithm{algorithm}})
			if err != nil {
				b.Fatal(err)
			}
			encoded, err := h.Make("secret")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Verify("secret", encoded); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzVerify: whatever the column holds, the check ends soon, and accepts only
// hashes that the hasher itself would write.
func FuzzVerify(f *testing.F) {
	h, err := password.New(password.Settings{Hashers: everyAlgorithm, Parameters: quick, Limits: password.Limits{
		PBKDF2Iterations: 10, Argon2Memory: 64, Argon2Time: 2, BcryptCost: 4, ScryptMemory: 1 << 16, ScryptParallelism: 2,
	}})
	if err != nil {
		f.Fatal(err)
	}
	for _, algorithm := range everyAlgorithm {
		encoded, err := newHashers(f, algorithm).Make("secret")
		if err != nil {
			f.Fatal(err)
		}
		f.Add("secret", encoded)
		f.Add("another", encoded)
	}
	for _, encoded := range slices.Sorted(maps.Keys(uncheckable)) {
		f.Add("secret", encoded)
	}
	for _, encoded := range []string{
		"pbkdf2_sha1$11$salt$x", "argon2$argon2i$v=19$m=128,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "argon2$argon2id$v=19$m=16,t=3,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ",
		"argon2$argon2id$v=19$m=16,t=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "argon2$argon2id$v=19$m=16,t=1,q=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "argon2$argon2id$v=19$m=16,t=x,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ",
		"argon2$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$c2FsdA", "argon2$argon2x$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "argon2$$m=16$x$y",
		"bcrypt$$2b$+4$" + strings.Repeat("u", 53), "bcrypt$$2b$05$" + strings.Repeat("u", 53), "bcrypt$$2b$04$" + strings.Repeat("u", 21) + "x" + strings.Repeat("u", 31), "bcrypt$$2b$04$u",
		"scrypt$4$salt$1$3$x", "scrypt$1024$salt$8$1$x", "scrypt$4$salt$x$1$x", "scrypt$4$salt", "scrypt$65536$salt$1$1$x", "sha1$$" + strings.Repeat("0", 40), "md5$salt",
	} {
		f.Add("secret", encoded)
	}
	f.Fuzz(func(t *testing.T, plain, encoded string) {
		mustUpdate, err := h.Verify(plain, encoded)
		if err != nil {
			if strings.Contains(err.Error(), encoded) && encoded != "" && len(encoded) > 10 {
				t.Errorf("%q: %v", encoded, err)
			}
			return
		}
		if again, err := h.MustUpdate(encoded); err != nil || again != mustUpdate {
			t.Errorf("%q: must update %v, %v, %v", encoded, mustUpdate, again, err)
		}
		if _, err := h.Verify(plain, encoded+"x"); err == nil {
			t.Errorf("%q is accepted with a character more", encoded)
		}
	})
}
