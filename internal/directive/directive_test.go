package directive

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// read has the values that the options of tree were set to.
type read struct {
	name   string
	secret string
	on     bool
	off    *bool
	number int
	size   int64
	age    caddy.Duration
	block  bool
	idle   caddy.Duration
	pairs  []string
	texts  map[string]string
}

// tree has an option of every form.
func tree(r *read) Options {
	r.texts = make(map[string]string)
	first := func(args []string) string { return args[0] }
	return Options{
		"name":   Text(&r.name, "a text"),
		"secret": Text(&r.secret, "a key").Secret(),
		"on":     Switch(&r.on),
		"off":    SwitchPointer(&r.off),
		"number": Positive(&r.number),
		"age":    Duration(&r.age).With(Options{"size": Size(&r.size)}),
		"block":  Block(func() { r.block = true }, Options{"idle": Duration(&r.idle)}),
		"pairs": Free("a name and a value", func(name string, args []string) error {
			if len(args) != 1 {
				return errors.New("one value")
			}
			r.pairs = append(r.pairs, name+"="+args[0])
			return nil
		}),
		"text": Values(2, 2, "a name and a text", func(args []string) error {
			r.texts[args[0]] = args[1]
			return nil
		}).RepeatedBy(first),
		"need": Any(1, "one word or more", func(args []string) error {
			r.pairs = append(r.pairs, strings.Join(args, "+"))
			return nil
		}).Repeated(),
	}
}

func TestReadSetsWhatTheBlockSays(t *testing.T) {
	t.Parallel()
	var r read
	const text = `x {
		name n
		secret s
		on
		off off
		number 3
		age 1h {
			size 2KiB
		}
		block {
			idle 5m
		}
		pairs {
			A b
			C d
		}
		text a 1
		text b 2
		need a b
		need a b
	}`
	if _, err := Read(caddyfile.NewTestDispenser(text), tree(&r)); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(r.name+" "+r.secret, " ", r.on, *r.off, r.number, r.size, time.Duration(r.age), r.block, time.Duration(r.idle), r.pairs, r.texts)
	if want := "n s true false 3 2048 1h0m0s true 5m0s [A=b C=d a+b a+b] map[a:1 b:2]"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

func TestReadNamesLineCauseAndRemedy(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"naem x":                        `unrecognized option "naem"; did you mean name?, at Testfile:2`,
		"idle 5m":                       `unrecognized option "idle"; it belongs in the block of block, at Testfile:2`,
		"block {\n name x\n }":          `unrecognized option "name" of block; it belongs in the sesame block itself, outside of block, at Testfile:3`,
		"block {\n idel 5m\n }":         `unrecognized option "idel" of block; did you mean idle?, at Testfile:3`,
		"block {\n sise 5\n }":          `unrecognized option "sise" of block; did you mean size, in the block of age?, at Testfile:3`,
		"zzz":                           `unrecognized option "zzz"; the options are age, block, name, need,`,
		"name":                          "wrong argument count: name takes one value, a text; there is none, at Testfile:2",
		"name a b":                      `wrong argument count: name takes one value, a text; there are 2: a b. Quote a value that has spaces: "a b", at Testfile:2`,
		"age 10 m":                      "there are 2: 10 m. Write a duration without spaces: 10m, at Testfile:2",
		"secret hush hush":              "wrong argument count: secret takes one value, a key; there are 2. Quote a value that has spaces, at Testfile:2",
		`secret ""`:                     "secret has an empty value; is an environment variable missing?, at Testfile:2",
		"block x":                       "wrong argument count: block takes a block, and no value; there is 1: x, at Testfile:2",
		"text a":                        "wrong argument count: text takes a name and a text; there is 1: a, at Testfile:2",
		"name a\n name b":               "name is already set in line 2, at Testfile:3",
		"text a 1\n text a 2":           "text a is already set in line 2, at Testfile:3",
		"age 1h {\n size 1\n size 2\n}": "age: size is already set in line 3, at Testfile:4",
		"on maybe":                      `on: it must be on or off, not "maybe", at Testfile:2`,
		"number 0":                      `number: it must be a whole number of at least 1, not "0", at Testfile:2`,
		"age -1s":                       `age: it must be a duration such as 2s or 5m, not "-1s", at Testfile:2`,
		"age 1h {\n size many\n }":      `size: it must be a size such as 64MiB, not "many", at Testfile:3`,
		"pairs":                         "pairs is empty: it needs lines of a name and a value in a block, or leave it out, at Testfile:2",
		"pairs {\n a\n }":               "pairs: one value, at Testfile:3",
	} {
		_, err := Read(caddyfile.NewTestDispenser("sesame {\n"+line+"\n}"), tree(new(read)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", line, err, want)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error holds a secret: %v", line, err)
		}
	}
}

func TestReadRejectsValuesOfTheDirective(t *testing.T) {
	t.Parallel()
	_, err := Read(caddyfile.NewTestDispenser("sesame x {\n}"), nil)
	if want := `sesame takes no value here, only a matcher and a block; "x" is neither`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

func TestOfFindsTheLineOfAnOption(t *testing.T) {
	t.Parallel()
	lines, err := Read(caddyfile.NewTestDispenser("sesame {\nname x\nblock {\nidle 5m\n}\nneed a b\n}"), tree(new(read)))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("name: of no setting"), 1},
		{setting.Errorf("name", "name x: too short"), 2},
		{setting.In("block", setting.Errorf("idle", "idle 5m: too short")), 4},
		{setting.In("block", setting.Errorf("size", "size: missing")), 3},
		{setting.In("block", errors.New("too short")), 3},
		{setting.Errorf("need a b", "need a b: too many"), 6},
		{fmt.Errorf("wrapped: %w", setting.Errorf("name", "name x: too short")), 2},
		{setting.Errorf("number", "number: not in the block, and its default is wrong here"), 1},
	} {
		if file, line := lines.Of(test.err); file != "Testfile" || line != test.want {
			t.Errorf("%v: at %s:%d, want line %d", test.err, file, line, test.want)
		}
	}
}
