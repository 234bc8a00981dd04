package sesame

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// wrongConfig is a directive with a mistake, the line that has it, and what the
// error says: the cause, and what to do about it.
type wrongConfig struct {
	key     string // the line of secret_key, or - for none
	options string // lines of sesame, from line 3 on
	dsn     string // the line of the dsn, or - for none
	store   string // lines of userstore, behind the dsn
	line    int
	want    string
}

// String is the directive.
func (c wrongConfig) String() string {
	key, dsn := "secret_key 0123456789012345678901234567890123456789", `dsn "gateway:pw@tcp(db:3306)/app"`
	for line, own := range map[*string]string{&key: c.key, &dsn: c.dsn} {
		switch own {
		case "":
		case "-":
			*line = ""
		default:
			*line = own
		}
	}
	return fmt.Sprintf("sesame {\n%s\n%s\nuserstore mysql {\n%s\n%s\n}\n}", key, c.options, dsn, c.store)
}

// wantWrong reads directives, whose errors must name the place, the cause and the
// remedy.
func wantWrong(t *testing.T, configs []wrongConfig) {
	t.Helper()
	for _, c := range configs {
		t.Run(strings.TrimSpace(c.key+" "+c.options+" "+c.dsn+" "+c.store), func(t *testing.T) {
			t.Parallel()
			err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(c.String()))
			if err == nil {
				t.Fatalf("no error for\n%s", c)
			}
			got := strings.TrimPrefix(err.Error(), "sesame: ")
			if want := fmt.Sprintf("%s, at Testfile:%d", c.want, c.line); got != want {
				t.Errorf("for\n%s\ngot  %s\nwant %s", c, got, want)
			}
		})
	}
}
