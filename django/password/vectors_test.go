package password_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// question is the input to Django and to this package.
type question struct {
	Do         string               `json:"do"` // make, argon2, argon2i or check
	Hashers    []password.Algorithm `json:"hashers"`
	Parameters parameters           `json:"parameters"`
	Password   string               `json:"password"`
	Salt       string               `json:"salt,omitempty"`
	Encoded    string               `json:"encoded,omitempty"`

	// Of argon2: 1 is argon2i, 2 argon2id.
	Variant  int `json:"variant"`
	HashSize int `json:"hash_size"`
}

type parameters struct {
	PBKDF2Iterations int    `json:"pbkdf2_iterations"`
	Argon2Memory     uint32 `json:"argon2_memory"`
	Argon2Time       uint32 `json:"argon2_time"`
	Argon2Lanes      uint8  `json:"argon2_lanes"`
	BcryptCost       int    `json:"bcrypt_cost"`
	ScryptN          int    `json:"scrypt_n"`
	ScryptP          int    `json:"scrypt_p"`
}

type answer struct {
	Error      bool   `json:"error"` // Django raised an exception
	Encoded    string `json:"encoded"`
	Correct    bool   `json:"correct"`
	MustUpdate bool   `json:"must_update"` // only where it is correct
}

// debianArgon2 is the size of the hash of argon2-cffi 21.1, in bytes.
const debianArgon2 = 16

func (q *question) newHashers(t testing.TB, argon2Size uint32) *password.Hashers {
	t.Helper()
	h, err := password.New(password.Settings{Hashers: q.Hashers, Parameters: password.Parameters{
		PBKDF2Iterations:  q.Parameters.PBKDF2Iterations,
		Argon2Memory:      q.Parameters.Argon2Memory,
		Argon2Time:        q.Parameters.Argon2Time,
		Argon2Parallelism: q.Parameters.Argon2Lanes,
		Argon2HashSize:    argon2Size,
		BcryptCost:        q.Parameters.BcryptCost,
		ScryptWorkFactor:  q.Parameters.ScryptN,
		ScryptParallelism: q.Parameters.ScryptP,
	}})
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return h
}

// check compares the verdicts on a password. Where Django raises an exception,
// the password must be refused.
func (q *question) check(t testing.TB, argon2Size uint32, theirs answer) {
	t.Helper()
	mustUpdate, err := q.newHashers(t, argon2Size).Verify(q.Password, q.Encoded)
	if isCorrect := err == nil; isCorrect != theirs.Correct || mustUpdate != theirs.MustUpdate {
		t.Errorf("%+v: must update %v, %v; Django has %+v", q, mustUpdate, err, theirs)
	}
}

func TestVectorsOfDjango(t *testing.T) {
	t.Parallel()
	vectors := testpeer.Vectors[question, answer](t, "testdata/vectors.json")
	accepted := make(map[password.Algorithm]int)
	for _, v := range vectors {
		if v.Question.Do != "check" {
			continue
		}
		v.Question.check(t, debianArgon2, v.Answer)
		if v.Answer.Correct {
			algorithm, _ := password.Identify(v.Question.Encoded)
			accepted[algorithm]++
		}
	}
	for _, algorithm := range []password.Algorithm{
		password.PBKDF2SHA256, password.PBKDF2SHA1, password.Argon2, password.BcryptSHA256, password.Bcrypt, password.Scrypt,
		password.MD5, password.SHA1, password.UnsaltedMD5, password.UnsaltedSHA1,
	} {
		if accepted[algorithm] < 10 {
			t.Errorf("%d hashes of %s are accepted: too few to show anything", accepted[algorithm], algorithm)
		}
	}
}

// TestDefaultsAreEachVersions: hashes that each Django makes by default are up
// to date for it, and for no other with other parameters.
func TestDefaultsAreEachVersions(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/defaults.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Django         string   `json:"django"`
		Argon2HashSize uint32   `json:"argon2_hash_size"`
		Hashes         []string `json:"hashes"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, made := range all {
		for i, encoded := range made.Hashes {
			algorithm, err := password.Identify(encoded)
			if err != nil || algorithm != password.DefaultHashers()[i] {
				t.Errorf("%s: %q, %v", made.Django, algorithm, err)
			}
			for _, other := range all {
				h, err := password.New(password.Settings{
					Version: other.Django, Hashers: []password.Algorithm{algorithm},
					Parameters: password.Parameters{Argon2HashSize: made.Argon2HashSize},
				})
				if err != nil {
					t.Fatal(err)
				}
				isSame := made.Django == other.Django || strings.HasPrefix(encoded, "argon2$") || strings.HasPrefix(encoded, "bcrypt") ||
					algorithm == password.Scrypt && (made.Django == "4.2") == (other.Django == "4.2")
				if mustUpdate, err := h.MustUpdate(encoded); err != nil || mustUpdate == isSame {
					t.Errorf("%s of Django %s: must update in %s: %v, %v", algorithm, made.Django, other.Django, mustUpdate, err)
				}
			}
		}
	}
	h, err := password.New(password.Settings{Version: "4.2"})
	if err != nil {
		t.Fatal(err)
	}
	for _, encoded := range all[0].Hashes {
		if _, err := h.Verify("pässword", encoded); err != nil {
			t.Errorf("%.20s: %v", encoded, err)
		}
	}
}
