package token_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
	"github.com/caddy-sesame/caddy-sesame/token"
)

var (
	differentialPairs = flag.Int64("pairs", 20_000, "how `many` judgements the differential test compares")
	differentialSeed  = flag.Uint64("seed", 0, "the `number` that the differential test's inputs follow from, or 0 for another each time")
)

const (
	differentialWorkers = 2         // each with a Python process
	differencesShown    = 20        // before it gives up
	progressEvery       = 1_000_000 // pairs
)

// TestDifferential compares with the real django-sesame, with random settings,
// users, tokens and clocks. Both must create equal tokens, look up equal keys,
// and give equal verdicts and reasons.
func TestDifferential(t *testing.T) {
	t.Parallel()
	source := os.Getenv("SESAME_SRC")
	if source == "" {
		t.Skip("SESAME_SRC doesn't name a checkout of django-sesame: not testing against it, only against vectors made by it")
	}
	d := &differential{seed: *differentialSeed, started: time.Now(), verdicts: make(map[string]int64)}
	if d.seed == 0 {
		d.seed = rand.Uint64()
	}
	t.Cleanup(func() { // once the workers are done
		t.Logf("seed %d: %d pairs in %d batches, %d differences", d.seed, d.pairs.Load(), d.batches.Load(), d.differences.Load())
		t.Logf("what django-sesame said: %v", d.verdicts)
	})
	for i := range differentialWorkers {
		t.Run(fmt.Sprintf("worker=%d", i), func(t *testing.T) {
			t.Parallel()
			django := startDjangoSide(t, source)
			for d.pairs.Load() < *differentialPairs && d.differences.Load() < differencesShown {
				d.compareBatch(t, django)
			}
		})
	}
}

// differential is the state that the workers share.
type differential struct {
	seed    uint64
	started time.Time

	batches, pairs, differences atomic.Int64

	mu       sync.Mutex
	verdicts map[string]int64 // django-sesame's
}

// batch is the work for both sides under the same settings. Its lists are
// parallel, which is quick to read and write.
type batch struct {
	Settings vectorSettings `json:"settings"`
	Packer   string         `json:"packer"` // the packer that the setting means
	Users    []*vectorUser  `json:"users"`
	Create   creations      `json:"create"`
	Check    checks         `json:"check"`

	tokens *token.Tokens
	rows   []row // of Users
}

// row converts a vectorUser to this package's User.
type row struct {
	key  token.PrimaryKey
	user token.User
}

type creations struct {
	Users  []int     `json:"users"` // indexes
	Scopes []string  `json:"scopes"`
	Clocks []float64 `json:"clocks"`
}

type checks struct {
	Tokens  []string   `json:"tokens"`
	Users   []int      `json:"users"` // indexes, -1 for no such user
	Scopes  []string   `json:"scopes"`
	Clocks  []float64  `json:"clocks"`
	MaxAges []*float64 `json:"max_ages"`
}

// djangoAnswer is django-sesame's answer to a batch.
type djangoAnswer struct {
	Refused bool      `json:"refused"` // the settings
	Created []*string `json:"created"` // null where it raised an exception
	Checked []checked `json:"checked"`
}

// checked is the primary key that was looked up, if any, and the name of the
// Reason, empty for a valid token.
type checked [2]*string

func (c checked) String() string {
	lookedUp := "nobody"
	if c[0] != nil {
		lookedUp = fmt.Sprintf("%q", *c[0])
	}
	if *c[1] == "" {
		return "valid, looked up " + lookedUp
	}
	return *c[1] + ", looked up " + lookedUp
}

func (c checked) equal(other checked) bool {
	if (c[0] == nil) != (other[0] == nil) || *c[1] != *other[1] {
		return false
	}
	return c[0] == nil || *c[0] == *other[0]
}

// compareBatch compares both sides on the next batch.
func (d *differential) compareBatch(t *testing.T, django *djangoSide) {
	number := uint64(d.batches.Add(1))
	rnd := rand.New(rand.NewPCG(d.seed, number))
	b, err := newBatch(t, rnd, django.V1Fallbacks)
	answer := django.do(t, b)
	differ := func(format string, arguments ...any) {
		t.Helper()
		d.differences.Add(1)
		settings, _ := json.Marshal(b.Settings)
		t.Errorf("%s\nbatch %d, packer %s, settings %s", fmt.Sprintf(format, arguments...), number, b.Packer, settings)
	}
	if (err != nil) != answer.Refused {
		differ("New: %v; django-sesame refuses the settings: %v", err, answer.Refused)
	}
	if err != nil || answer.Refused {
		d.count(1, nil)
		return
	}

	for i, theirs := range answer.Created {
		user := b.rows[b.Create.Users[i]]
		ours, err := b.tokens.Create(user.key, user.user, b.Create.Scopes[i], unix(b.Create.Clocks[i]))
		if isDifferent := (err != nil) != (theirs == nil) || err == nil && ours != *theirs; isDifferent {
			shown, _ := json.Marshal([]any{b.Users[b.Create.Users[i]], b.Create.Scopes[i], b.Create.Clocks[i], theirs})
			differ("Create: %q, %v; user, scope, time, and what django-sesame made: %s", ours, err, shown)
		}
	}
	verdicts := make(map[string]int64)
	for i, theirs := range answer.Checked {
		verdicts[*theirs[1]]++
		ours := b.check(i)
		if ours.equal(theirs) || b.isOversized(b.Check.Tokens[i]) && *ours[1] != "" && *theirs[1] != "" {
			continue
		}
		var user *vectorUser
		if at := b.Check.Users[i]; at >= 0 {
			user = b.Users[at]
		}
		shown, _ := json.Marshal(vectorCheck{
			Token: b.Check.Tokens[i], Now: b.Check.Clocks[i], Scope: b.Check.Scopes[i], MaxAge: b.Check.MaxAges[i],
			User: user, Result: *theirs[1],
		})
		differ("here: %v; django-sesame: %v\n%s", ours, theirs, shown)
	}
	before := d.pairs.Load()
	d.count(int64(len(answer.Created)+len(answer.Checked)), verdicts)
	if before/progressEvery != d.pairs.Load()/progressEvery {
		t.Logf("%d pairs, %d differences, %v", d.pairs.Load(), d.differences.Load(), time.Since(d.started).Round(time.Second))
	}
}

func (d *differential) count(pairs int64, verdicts map[string]int64) {
	d.pairs.Add(pairs)
	d.mu.Lock()
	defer d.mu.Unlock()
	for verdict, n := range verdicts {
		d.verdicts[verdict] += n
	}
}

// check checks a token as a gateway does: parse, look up, verify.
func (b *batch) check(i int) checked {
	want := token.Expectation{Scope: b.Check.Scopes[i], Now: unix(b.Check.Clocks[i]), MaxAge: seconds(b.Check.MaxAges[i])}
	var verdict checked
	parsed, err := b.tokens.Parse(b.Check.Tokens[i], want)
	if err == nil {
		verdict[0] = new(parsed.PrimaryKey().String())
		err = token.UnknownUser
		if at := b.Check.Users[i]; at >= 0 {
			err = b.tokens.Verify(&parsed, b.rows[at].user)
		}
	}
	reason, isReason := errors.AsType[token.Reason](err)
	switch {
	case err == nil:
		verdict[1] = new("")
	case isReason:
		verdict[1] = new(reason.String())
	default:
		verdict[1] = new(err.Error())
	}
	return verdict
}

// isOversized reports whether a token is longer than any of these settings.
// Then it is rejected early, while django-sesame reads on.
func (b *batch) isOversized(made string) bool {
	const longest = (1 + 255 + 4 + 64) * 4 / 3 // characters of base64
	data, _, _ := strings.Cut(made, ":")
	return len(data) > longest
}

// djangoSide is a Python process with django-sesame: testdata/differential.py.
type djangoSide struct {
	Django      string `json:"django"`       // the version
	V1Fallbacks bool   `json:"v1_fallbacks"` // whether it has SECRET_KEY_FALLBACKS

	in     io.Writer
	out    *bufio.Reader
	stderr *bytes.Buffer
}

func startDjangoSide(t *testing.T, source string) *djangoSide {
	t.Helper()
	cmd := exec.Command(testprogram.Python(t, "django"), "testdata/differential.py")
	cmd.Env = testprogram.SesameEnv(source)
	dialog := testprogram.StartDialog(t, cmd)
	d := &djangoSide{in: dialog.In, out: bufio.NewReader(dialog.Out), stderr: dialog.Errors}
	d.read(t, d)
	return d
}

// do has django-sesame do a batch.
func (d *djangoSide) do(t *testing.T, b *batch) djangoAnswer {
	t.Helper()
	if err := json.NewEncoder(d.in).Encode(b); err != nil {
		t.Fatalf("asking django-sesame: %v\n%s", err, d.stderr)
	}
	var answer djangoAnswer
	d.read(t, &answer)
	if !answer.Refused && (len(answer.Created) != len(b.Create.Users) || len(answer.Checked) != len(b.Check.Tokens)) {
		t.Fatal("django-sesame's side has left something out")
	}
	return answer
}

func (d *djangoSide) read(t *testing.T, v any) {
	t.Helper()
	line, err := d.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("asking django-sesame: %v\n%s", err, d.stderr)
	}
	if err := json.Unmarshal(line, v); err != nil {
		t.Fatalf("asking django-sesame: %v: %s", err, line)
	}
}
