package directive

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"
)

// Values returns an option with min to max values, which read parses. form
// describes the values in errors: "a name and a value".
func Values(minimum, maximum int, form string, read func(args []string) error) Option {
	return Option{form: form, min: minimum, max: maximum, read: read}
}

// Any is Values without a maximum.
func Any(minimum int, form string, read func(args []string) error) Option {
	return Values(minimum, unlimited, form, read)
}

// Block returns an option that has only a block, which may be missing. begin
// is called if the option is present.
func Block(begin func(), options Options) Option {
	return Option{read: func([]string) error { begin(); return nil }, block: options}
}

// Free returns an option with a block of lines that begin with names of the
// user's choice. form describes a line.
func Free(form string, read func(name string, args []string) error) Option {
	return Option{form: form, free: read}
}

// Text returns an option with one value. form describes the value.
func Text(to *string, form string) Option {
	return Values(1, 1, form, func(args []string) error {
		*to = args[0]
		return nil
	})
}

// Texts returns an option with one value or more.
func Texts(to *[]string, form string) Option {
	return Any(1, form, func(args []string) error {
		*to = args
		return nil
	})
}

// Switch returns an option that is on or off; without a value it is on.
func Switch(to *bool) Option {
	return Values(0, 1, "on or off", func(args []string) error {
		if len(args) == 0 {
			*to = true
			return nil
		}
		switch args[0] {
		case "on", "true":
			*to = true
		case "off", "false":
			*to = false
		default:
			return fmt.Errorf("it must be on or off, not %q%s", args[0], switchHint(args[0]))
		}
		return nil
	})
}

// SwitchPointer is Switch for a field that is nil if the option is missing.
func SwitchPointer(to **bool) Option {
	on := new(bool)
	option := Switch(on)
	read := option.read
	option.read = func(args []string) error {
		*to = on
		return read(args)
	}
	return option
}

// Positive returns an option with a whole number of at least 1.
func Positive(to *int) Option { return atLeast(1, to) }

// NotNegative returns an option with a whole number of at least 0.
func NotNegative(to *int) Option { return atLeast(0, to) }

func atLeast(least int, to *int) Option {
	return Values(1, 1, "a whole number", func(args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < least {
			return fmt.Errorf("it must be a whole number of at least %d, not %q", least, args[0])
		}
		*to = n
		return nil
	})
}

// Duration returns an option with a duration above zero, in Caddy's syntax:
// 2s, 5m, 1d.
func Duration(to *caddy.Duration) Option { return longerThan(0, to) }

// NotNegativeDuration returns an option with a duration, or 0.
func NotNegativeDuration(to *caddy.Duration) Option { return longerThan(-1, to) }

func longerThan(bound time.Duration, to *caddy.Duration) Option {
	return Values(1, 1, "a duration such as 2s or 5m", func(args []string) error {
		duration, err := caddy.ParseDuration(args[0])
		if err != nil || duration <= bound {
			return fmt.Errorf("it must be a duration such as 2s or 5m, not %q%s", args[0], DurationHint(args[0]))
		}
		*to = caddy.Duration(duration)
		return nil
	})
}

// switchHint suggests on or off for other words for a switch.
func switchHint(word string) string {
	switch word = strings.ToLower(word); {
	case isOn(word):
		return "; write on"
	case isOff(word):
		return "; write off"
	}
	return ""
}

// DurationHint suggests how to write an invalid duration: with the missing
// unit, or with the unit in Caddy's syntax.
func DurationHint(text string) string {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	value, err := strconv.ParseFloat(number, 64)
	switch {
	case strings.HasPrefix(text, "-"):
		return ""
	case err != nil && isOff(strings.ToLower(text)) || strings.ToLower(text) == "never":
		return "; for none, remove the line"
	case err != nil:
		return "; the units are s, m, h and d"
	case value == 0:
		return "; zero isn't allowed: leave the option out for the default"
	}
	unit := text[len(number):]
	switch {
	case unit == "":
		return "; write the unit: " + number + "s for seconds"
	case unitOf(unit) != "":
		return "; write " + number + unitOf(unit)
	case strings.HasPrefix(strings.ToLower(unit), "w"), strings.HasPrefix(strings.ToLower(unit), "y"):
		return "; write it in days, as in 7d"
	}
	return "; the units are s, m, h and d"
}

// unitOf returns the unit that a word means, or "".
func unitOf(word string) string {
	switch strings.ToLower(word) {
	case "s", "sec", "secs", "second", "seconds":
		return "s"
	case "m", "min", "mins", "minute", "minutes":
		return "m"
	case "h", "hr", "hrs", "hour", "hours":
		return "h"
	case "d", "day", "days":
		return "d"
	}
	return ""
}

// Size returns an option with a number of bytes, in Caddy's syntax: 64MiB.
func Size(to *int64) Option {
	return Values(1, 1, "a size such as 64MiB", func(args []string) error {
		size, err := humanize.ParseBytes(args[0])
		if err != nil || size == 0 || size > math.MaxInt64 {
			return fmt.Errorf("it must be a size such as 64MiB, not %q", args[0])
		}
		*to = int64(size)
		return nil
	})
}

// First distinguishes lines of a repeated option by their first value.
func First(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
