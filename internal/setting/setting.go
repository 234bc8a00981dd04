// Package setting has the error type that names the wrong setting of a
// configuration. The reader of the configuration can then find the setting's
// line.
package setting

import (
	"errors"
	"fmt"
)

// Error is an error about a setting.
type Error struct {
	path    string
	isWhole bool // path is that of the whole configuration, and In leaves it as it is
	err     error
}

// Errorf returns an error about a setting, with a message formatted by
// fmt.Errorf. The message should name the setting as well.
func Errorf(name, format string, args ...any) error {
	return &Error{path: name, err: fmt.Errorf(format, args...)}
}

// In returns the error of a block for the configuration that contains the
// block: the block's name is put in front of the message and of the setting.
// It returns nil for nil.
func In(block string, err error) error {
	if err == nil {
		return nil
	}
	path, isWhole := block, false
	if inner, ok := errors.AsType[*Error](err); ok {
		path, isWhole = block+": "+inner.path, inner.isWhole
		if isWhole {
			path = inner.path
		}
	}
	return &Error{path, isWhole, fmt.Errorf("%s: %w", block, err)}
}

// Elsewhere returns an error that one block finds about a setting of another, such as
// a store about the table that a scheme names. path is that of the setting in the whole
// configuration, "api_token: drf: table", and is put in front of the message. An error
// that is about a setting already stays so.
func Elsewhere(path string, err error) error {
	told := fmt.Errorf("%s: %w", path, err)
	if inner, ok := errors.AsType[*Error](err); ok {
		return &Error{inner.path, inner.isWhole, told}
	}
	return &Error{path, true, told}
}

// Of marks an error whose message already names a setting as an error about
// that setting, unless it is marked already. It returns nil for nil.
func Of(name string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok || err == nil {
		return err
	}
	return &Error{path: name, err: err}
}

// Option returns the path of the setting: "max_age", or "session: idle" for
// one in a block.
func (e *Error) Option() string { return e.path }

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }
