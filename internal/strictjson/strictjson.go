// Package strictjson decodes the JSON of a configuration. Its errors name the
// path of the option, the expected value and the name that was probably meant,
// where encoding/json names Go types.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Decode decodes an object into the struct that to points to, and rejects
// unknown fields. An error about a field is a setting.Error. Errors repeat
// names, and only those values that can't be a secret.
func Decode(data []byte, to any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(to)
	if err == nil {
		return nil
	}
	if found := check(data, reflect.TypeOf(to), nil); found != nil {
		return found
	}
	return fmt.Errorf("decoding JSON: %w", err)
}

// check returns an error if the value at path is wrong, or nil.
func check(data []byte, t reflect.Type, path []string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if string(bytes.TrimSpace(data)) == "null" {
		return nil
	}
	if t == reflect.TypeFor[caddy.Duration]() {
		return checkDuration(data, path)
	}
	switch t.Kind() {
	case reflect.Struct:
		return checkObject(data, t, path)
	case reflect.Map:
		return checkMap(data, t, path)
	case reflect.Slice:
		return checkList(data, t, path)
	default:
		if json.Unmarshal(data, reflect.New(t).Interface()) != nil {
			return wrongType(data, t, path)
		}
		return nil
	}
}

// checkObject checks the fields in their order.
func checkObject(data []byte, t reflect.Type, path []string) error {
	fields, err := members(data)
	if err != nil {
		return wrongType(data, t, path)
	}
	known := make(map[string]reflect.Type)
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.IsExported() && name != "" && name != "-" {
			known[name] = field.Type
		}
	}
	for _, field := range fields {
		name := field.name
		fieldType, ok := known[name]
		if !ok {
			// encoding/json takes other letter cases, too.
			for other, otherType := range known {
				if strings.EqualFold(other, name) {
					fieldType, ok = otherType, true
				}
			}
		}
		if !ok {
			return unknownField(name, known, path)
		}
		if err := check(field.value, fieldType, append(slices.Clip(path), name)); err != nil {
			return err
		}
	}
	return nil
}

// unknownField names the field that was probably meant, or all fields.
func unknownField(name string, known map[string]reflect.Type, path []string) error {
	var names []string
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	hint := nearest.Hint(name, names)
	if hint == "" {
		hint = elsewhere(name, known)
	}
	if hint == "" {
		hint = "; the fields are " + strings.Join(names, ", ")
	}
	if len(path) == 0 {
		return setting.Errorf(name, "unknown field %q%s", name, hint)
	}
	where := strings.Join(path, ": ")
	return setting.Errorf(where, "%s: unknown field %q%s", where, name, hint)
}

// elsewhere finds the object that a misplaced field belongs to.
func elsewhere(name string, known map[string]reflect.Type) string {
	for _, block := range sortedKeys(known) {
		t := known[block]
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			continue
		}
		for i := range t.NumField() {
			if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tag == name {
				return "; it belongs in " + block
			}
		}
	}
	return ""
}

func sortedKeys(m map[string]reflect.Type) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func checkMap(data []byte, t reflect.Type, path []string) error {
	fields, err := members(data)
	if err != nil {
		return wrongType(data, t, path)
	}
	for _, field := range fields {
		if err := check(field.value, t.Elem(), append(slices.Clip(path), field.name)); err != nil {
			return err
		}
	}
	return nil
}

func checkList(data []byte, t reflect.Type, path []string) error {
	var elements []json.RawMessage
	if json.Unmarshal(data, &elements) != nil {
		return wrongType(data, t, path)
	}
	for i, element := range elements {
		if err := check(element, t.Elem(), append(slices.Clip(path), strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return nil
}

func checkDuration(data []byte, path []string) error {
	if new(caddy.Duration).UnmarshalJSON(data) == nil {
		return nil
	}
	return wrongType(data, reflect.TypeFor[caddy.Duration](), path)
}

// wrongType returns an error with the expected and the given value.
func wrongType(data []byte, t reflect.Type, path []string) error {
	where := strings.Join(path, ": ")
	if where == "" {
		return fmt.Errorf("the configuration must be %s, not %s", expected(t), given(data, t))
	}
	return setting.Errorf(where, "%s: it must be %s, not %s", where, expected(t), given(data, t))
}

// expected describes the values of a type, with an example.
func expected(t reflect.Type) string {
	if t == reflect.TypeFor[caddy.Duration]() {
		return `a duration in quotes, such as "10m" or "1d"`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false, without quotes"
	case reflect.String:
		return `a text in quotes`
	case reflect.Struct:
		return "an object, as in {" + firstField(t) + "}"
	case reflect.Map:
		return `an object, as in {"name": …}`
	case reflect.Slice:
		element := t.Elem()
		if element.Kind() == reflect.Struct {
			return "a list of objects, as in [{" + firstField(element) + "}]"
		}
		return `a list, as in ["…"]`
	default:
		return "a whole number, without quotes"
	}
}

// firstField returns the first field of a struct, written as JSON.
func firstField(t reflect.Type) string {
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tag != "" && tag != "-" {
			return strconv.Quote(tag) + ": …"
		}
	}
	return "…"
}

// given describes a value. Numbers, booleans, durations and words for a switch
// are shown; any other text may be a secret.
func given(data []byte, t reflect.Type) string {
	text := string(bytes.TrimSpace(data))
	switch {
	case strings.HasPrefix(text, "["):
		return "a list"
	case strings.HasPrefix(text, "{"):
		return "an object"
	case t.Kind() == reflect.String && (text == "true" || text == "false"):
		return text
	case t.Kind() == reflect.String:
		return "a number"
	case !strings.HasPrefix(text, `"`):
		return text
	case t == reflect.TypeFor[caddy.Duration](), t.Kind() == reflect.Bool, t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return text
	default:
		return "a text"
	}
}

// member is a field of an object.
type member struct {
	name  string
	value json.RawMessage
}

// errNoObject is the error for JSON that isn't an object.
var errNoObject = errors.New("no object")

// members returns the fields of an object in their order.
func members(data []byte) ([]member, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return nil, errNoObject
	}
	var all []member
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: name.(string)} // otherwise it isn't JSON
		if err := decoder.Decode(&m.value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if _, err := decoder.Token(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return all, nil
}
