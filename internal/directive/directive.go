// Package directive reads the options of a Caddyfile block. Options are named
// in a table, so that every block treats repetitions, unknown names and wrong
// numbers of values alike, and says what was expected.
package directive

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Options are the options of a block, by name.
type Options map[string]Option

// Option is one option: its number of values, and the function that reads
// them. Make it with Text, Switch, Block and the like, or with Values for
// other forms.
type Option struct {
	form     string // the values, as documented: <duration>
	example  string // a whole line
	min, max int    // how many values
	read     func(args []string) error
	block    Options
	free     func(name string, args []string) error // lines with names of their own choice
	ofFree   func() Options                         // the options in a block behind such a line, which was read last
	isSecret bool
	// holdsSecrets: misplaced values may be secrets, such as a DSN behind
	// userstore mysql.
	holdsSecrets bool
	mayBeEmpty   bool
	key          func(args []string) string // distinguishes the lines of a repeated option; nil if only one is allowed
	repeated     bool                       // any number of lines, equal ones too
}

// unlimited is Option.max where any number of values is accepted.
const unlimited = 1 << 30

// Secret returns the option with errors that don't repeat its values.
func (o Option) Secret() Option {
	o.isSecret = true
	return o
}

// HoldingSecrets returns the option with errors that don't repeat surplus values:
// its block has secrets, and one may stand in the wrong line.
func (o Option) HoldingSecrets() Option {
	o.holdsSecrets = true
	return o
}

// OrEmpty returns the option as one whose values may be empty.
func (o Option) OrEmpty() Option {
	o.mayBeEmpty = true
	return o
}

// Example returns the option with a line that shows how it is written.
func (o Option) Example(line string) Option {
	o.example = line
	return o
}

// RepeatedBy returns the option as one that a block may have several times,
// unless key returns the same for the values of two lines.
func (o Option) RepeatedBy(key func(args []string) string) Option {
	o.key = key
	return o
}

// Repeated returns the option as one that a block may have any number of times.
func (o Option) Repeated() Option {
	o.key = func(args []string) string { return strings.Join(args, " ") }
	o.repeated = true
	return o
}

// Then returns the option with done called after its values are read.
func (o Option) Then(done func()) Option {
	read := o.read
	o.read = func(args []string) error {
		if err := read(args); err != nil {
			return err
		}
		done()
		return nil
	}
	return o
}

// With returns the option with a block of further options behind its values.
// The block may be missing.
func (o Option) With(block Options) Option {
	o.block = block
	return o
}

// WithBlocks returns an option made with Free whose lines may have a block each.
// options are those of the line that was read last.
func (o Option) WithBlocks(options func() Options) Option {
	o.ofFree = options
	return o
}

// Lines remembers the lines of options, for errors that are found later.
type Lines struct {
	file      string
	directive int
	options   map[string]int
}

// Read reads the block of the directive that d is at. The directive itself
// takes no values.
func Read(d *caddyfile.Dispenser, options Options) (*Lines, error) {
	d.Next()
	lines := &Lines{file: d.File(), directive: d.Line(), options: make(map[string]int)}
	name := d.Val()
	if args := d.RemainingArgs(); len(args) > 0 {
		return lines, d.Errf("wrong argument count: %s takes no value here, only a matcher and a block; %q is neither", name, args[0])
	}
	return lines, lines.readBlock(d, "", options, options)
}

// readBlock reads the lines of a block. path is the option that has the block;
// tree are the options of the whole directive, for the hint on a misplaced one.
func (l *Lines) readBlock(d *caddyfile.Dispenser, path string, options, tree Options) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		option, ok := options[name]
		if !ok {
			return d.Errf("unrecognized option %q%s%s", withoutValue(name), in(path), misplaced(name, path, options, tree))
		}
		if err := l.readOption(d, path, name, option, tree); err != nil {
			return err
		}
	}
	return nil
}

// readOption reads the values of an option, and its block.
func (l *Lines) readOption(d *caddyfile.Dispenser, path, name string, option Option, tree Options) error {
	line := d.Line()
	args := d.RemainingArgs()
	key := join(path, name)
	if option.key != nil {
		key += " " + option.key(args)
	}
	if earlier, ok := l.options[key]; ok && !option.repeated {
		return d.Errf("%s is already set in line %d", key, earlier)
	}
	l.options[key] = line
	if len(args) < option.min || len(args) > option.max {
		return d.Err(option.wrongCount(name, args))
	}
	if slices.Contains(args, "") && !option.mayBeEmpty {
		return d.Errf("%s has an empty value; is an environment variable missing?", name)
	}
	if i := wronglyQuoted(args); i >= 0 {
		return d.Errf("%s: value %d is in quotes that a Caddyfile doesn't recognize, and that would become part of the value: "+
			"write \"double quotes\" or `backticks`", name, i+1)
	}
	if option.read != nil {
		if err := option.read(args); err != nil {
			return d.WrapErr(named(name, err))
		}
	}
	switch {
	case option.free != nil:
		return l.readFree(d, path, name, option, tree)
	case option.block == nil:
		if d.NextBlock(d.Nesting()) {
			return d.Errf("%s has no block: %q in it is no option; %s", name, withoutValue(d.Val()), unblocked(name, path, d.Val(), tree))
		}
		return nil
	}
	block := join(path, name)
	if option.key != nil {
		block = join(block, option.key(args))
		l.begin(block, line)
	}
	return l.readBlock(d, block, option.block, tree)
}

// unblocked says where an option belongs that stands in a block of name, which takes
// none: where another option of that name has a block with it, as password outside of
// login, in that block.
func unblocked(name, path, inner string, tree Options) string {
	if _, ok := tree[name].block[inner]; ok && path != "" {
		return "write it into the block of " + name + " in the sesame block itself, outside of " + path
	}
	return "remove the braces"
}

// begin begins a block of an option that may be there several times, each time with
// lines of its own.
func (l *Lines) begin(block string, line int) {
	maps.DeleteFunc(l.options, func(path string, _ int) bool { return strings.HasPrefix(path, block+": ") })
	l.options[block] = line
}

// wronglyQuoted returns the index of a value that begins with a quote of
// another language or of a word processor, if that value or a later one ends
// with such a quote; -1 if there is none.
func wronglyQuoted(args []string) int {
	const quotes = "'\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
	for i, arg := range args {
		first, size := utf8.DecodeRuneInString(arg)
		if arg == "" || !strings.ContainsRune(quotes, first) {
			continue
		}
		ends := func(part string) bool {
			last, _ := utf8.DecodeLastRuneInString(part)
			return part != "" && strings.ContainsRune(quotes, last)
		}
		if ends(arg[size:]) || slices.ContainsFunc(args[i+1:], ends) {
			return i
		}
	}
	return -1
}

// withoutValue cuts off the value, which may be a secret, from a line that is
// written as name=value or name:value.
func withoutValue(name string) string {
	if i := strings.IndexAny(name, "=:"); i > 0 {
		return name[:i+1]
	}
	return name
}

// readFree reads a block whose lines begin with names of the user's choice.
func (l *Lines) readFree(d *caddyfile.Dispenser, path, name string, option Option, tree Options) error {
	lines := 0
	for nesting := d.Nesting(); d.NextBlock(nesting); lines++ {
		first := d.Val()
		l.options[join(join(path, name), first)] = d.Line()
		args := d.RemainingArgs()
		if err := option.free(first, args); err != nil {
			return d.WrapErr(named(name, err))
		}
		if option.ofFree == nil {
			continue
		}
		if err := l.readBlock(d, join(join(path, name), first), option.ofFree(), tree); err != nil {
			return err
		}
	}
	if lines == 0 {
		return d.Errf("%s is empty: it needs lines of %s in a block, or leave it out", name, option.form)
	}
	return nil
}

// wrongCount returns the error for a wrong number of values. It begins with
// Caddy's own words, since its users search for them.
func (o Option) wrongCount(name string, args []string) string {
	var b strings.Builder
	b.WriteString("wrong argument count: ")
	b.WriteString(name)
	switch {
	case o.max == 0 && o.block != nil:
		b.WriteString(" takes a block, and no value")
	case o.max == 0:
		b.WriteString(" takes no value")
	case o.max == 1 && o.min == 1:
		b.WriteString(" takes one value, " + o.form)
	default:
		b.WriteString(" takes " + o.form)
	}
	b.WriteString("; ")
	switch {
	case len(args) == 0 && o.isSecret:
		b.WriteString("there is none. A variable {$NAME} that isn't set is no value, and # begins a comment: set the variable, or quote the value")
	case len(args) == 0:
		b.WriteString("there is none")
	case len(args) == 1:
		b.WriteString("there is 1")
	default:
		fmt.Fprintf(&b, "there are %d", len(args))
	}
	if len(args) > 0 && !o.isSecret && !o.holdsSecrets {
		b.WriteString(": " + strings.Join(args, " "))
	}
	if remedy := o.remedy(name, args); remedy != "" {
		b.WriteString(". " + remedy)
	}
	return b.String()
}

// remedy says how to write what was probably meant, or returns "" if that
// isn't known.
func (o Option) remedy(name string, args []string) string {
	joined := strings.Join(args, " ")
	switch {
	case len(args) > 0 && (args[0] == "=" || args[0] == ":"):
		return "Write the value behind the name, without " + args[0]
	case o.max == 0 && isOff(joined):
		return "Remove the line: without it, " + name + " is off"
	case o.max == 0 && isOn(joined):
		return "Write " + name + " alone"
	case o.example != "" && o.max == 0:
		return "Options stand in its block, each in a line of its own, such as: " + o.example
	case o.example != "":
		return "Write it as: " + o.example
	case len(args) <= o.max:
		return ""
	case o.repeated && o.holdsSecrets && o.max == 1:
		return "Write a line for each"
	case o.isSecret, o.holdsSecrets:
		return "Quote a value that has spaces"
	case o.max > 1:
		return fmt.Sprintf("Quote a value that has spaces: %s %s %q", name, strings.Join(args[:o.max-1], " "), strings.Join(args[o.max-1:], " "))
	case o.max == 1 && strings.Contains(o.form, "duration"):
		return durationRemedy(args)
	case o.max == 1 && strings.Contains(o.form, "a size"):
		return "Write a size without spaces: " + strings.Join(args, "")
	case o.max == 1:
		return fmt.Sprintf("Quote a value that has spaces: %q", joined)
	}
	return ""
}

// durationRemedy says how a duration in several words is written.
func durationRemedy(args []string) string {
	together := strings.Join(args, "")
	if strings.Trim(args[0], "0123456789.") != "" {
		return "Write one duration"
	}
	if len(args) == 2 {
		if unit := unitOf(args[1]); unit != "" {
			together = args[0] + unit
		}
	}
	if _, err := caddy.ParseDuration(together); err != nil {
		return "Write one duration, such as 10m"
	}
	return "Write a duration without spaces: " + together
}

// misplaced returns the hint on an unknown option: the option with a similar
// name, or the block where it belongs.
func misplaced(name, path string, options, tree Options) string {
	known := slices.Sorted(maps.Keys(options))
	list := "; the options are " + strings.Join(known, ", ")
	if path != "" {
		list = "; the options of " + path + " are " + strings.Join(known, ", ")
	}
	if len(known) == 0 {
		list = ""
	}
	if hint, ok := synonym(name, options); ok {
		return hint
	}
	if near := nearest.Name(name, known); near != "" && !isElsewhere(name, path, tree) {
		return "; did you mean " + near + "?"
	}
	if near := nearest.Close(name, known); near != "" {
		return "; did you mean " + near + "?"
	}
	if hint, ok := synonymElsewhere(name, tree); ok {
		return hint
	}
	if _, ok := tree[name]; ok && path != "" {
		return "; it belongs in the sesame block itself, outside of " + path
	}
	if blocks := blocksWith(name, path, tree); len(blocks) > 0 {
		return "; it belongs in the block of " + strings.Join(blocks, " or ")
	}
	for _, block := range slices.Sorted(maps.Keys(tree)) {
		names := slices.Collect(maps.Keys(tree[block].block))
		near := nearest.Name(name, names)
		if path != "" {
			near = nearest.Close(name, names)
		}
		if near != "" && block != path {
			return "; did you mean " + near + ", in the block of " + block + "?"
		}
	}
	if near := nearest.Name(name, slices.Collect(maps.Keys(tree))); near != "" && path != "" {
		return "; did you mean " + near + ", in the sesame block itself?" + list
	}
	return list
}

// isElsewhere reports whether another block has an option of exactly this
// name.
func isElsewhere(name, path string, tree Options) bool {
	_, ok := tree[name]
	return ok || len(blocksWith(name, path, tree)) > 0
}

// blocksWith returns the other blocks that have the option: those of the directive,
// or if none of them has it, blocks in these, as "email_link in login".
func blocksWith(name, path string, tree Options) []string {
	var blocks, inner []string
	for _, block := range slices.Sorted(maps.Keys(tree)) {
		options := tree[block].block
		if _, ok := options[name]; ok && block != path {
			blocks = append(blocks, block)
		}
		for _, within := range slices.Sorted(maps.Keys(options)) {
			if _, ok := options[within].block[name]; ok && join(block, within) != path {
				inner = append(inner, within+" in "+block)
			}
		}
	}
	if len(blocks) == 0 {
		return inner
	}
	return blocks
}

func in(path string) string {
	if path == "" {
		return ""
	}
	return " of " + path
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + ": " + name
}

// named returns an error that begins with the option's name.
func named(name string, err error) error {
	if strings.HasPrefix(err.Error(), name) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Directive returns the place of the directive itself, as file:line.
func (l *Lines) Directive() string { return l.file + ":" + strconv.Itoa(l.directive) }

// Of returns the line of the option that an error is about, or of the
// directive. For an option that isn't written, it returns the line of its
// block.
func (l *Lines) Of(err error) (file string, line int) {
	about, ok := errors.AsType[*setting.Error](err)
	if !ok {
		return l.file, l.directive
	}
	for path := about.Option(); path != ""; path = parent(path) {
		if line, ok := l.options[path]; ok {
			return l.file, line
		}
	}
	return l.file, l.directive
}

// parent returns the path of the block that contains an option.
func parent(path string) string {
	i := strings.LastIndex(path, ": ")
	return path[:max(i, 0)]
}
