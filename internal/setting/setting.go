// Package setting has the error that says which setting of a configuration is
// wrong. Who has read the configuration can then say where that setting stands.
package setting

import (
	"errors"
	"fmt"
)

// Error is an error about a setting.
type Error struct {
	path string
	err  error
}

// Errorf returns an error about a setting, with a message made as by
// fmt.Errorf. The message should name the setting as well.
func Errorf(name, format string, args ...any) error {
	return &Error{name, fmt.Errorf(format, args...)}
}

// In returns an error of a block as one of the configuration that has the
// block: the block's name stands before the message and before the setting.
// It returns nil for nil.
func In(block string, err error) error {
	if err == nil {
		return nil
	}
	path := block
	if inner, ok := errors.AsType[*Error](err); ok {
		path += ": " + inner.path
	}
	return &Error{path, fmt.Errorf("%s: %w", block, err)}
}

// Of returns an error whose message names a setting already as one about that
// setting, unless it is about one. It returns nil for nil.
func Of(name string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok || err == nil {
		return err
	}
	return &Error{name, err}
}

// Option is the path of the setting's name: "max_age", or "session: idle" for
// one in a block.
func (e *Error) Option() string { return e.path }

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }
