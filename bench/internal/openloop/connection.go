package openloop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
)

// connection carries one request at a time.
type connection struct {
	run  *run
	conn net.Conn     // set under run.mu
	due  atomic.Int64 // of the request that is on its way
}

// serve connects, sends the first request, and reads answers until the run
// ends.
func (c *connection) serve(first job) {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(c.run.ctx, "tcp", c.run.load.Address)
	if err != nil {
		c.run.fail(fmt.Errorf("%w: %w", ErrUnanswered, err))
		return
	}
	if !c.run.connected(c, conn) {
		return
	}
	c.run.send(c, first)
	var a answer
	for {
		if err := a.read(conn); err != nil {
			c.run.fail(fmt.Errorf("%w: %w", ErrUnanswered, err))
			return
		}
		c.run.done(c)
	}
}

// answer reads answers, each into the memory of the one before.
type answer struct {
	buffer [16 << 10]byte
	filled int
}

// read takes one answer off a connection. It must be a 200 with a length, as
// that of the application behind a gateway is.
func (a *answer) read(conn net.Conn) error {
	a.filled = 0
	size := -1 // not known yet
	for size < 0 || a.filled < size {
		if a.filled == len(a.buffer) {
			return errors.New("the answer is too long")
		}
		n, err := conn.Read(a.buffer[a.filled:])
		if err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		a.filled += n
		if size < 0 {
			if size, err = answerSize(a.buffer[:a.filled]); err != nil {
				return err
			}
		}
	}
	if a.filled > size {
		return errors.New("the answer is longer than it says")
	}
	return nil
}

var (
	endOfHead  = []byte("\r\n\r\n")
	good       = []byte("HTTP/1.1 200 ")
	lengthName = []byte("content-length:")
)

// answerSize is how many bytes the answer has, head and body, of which the
// beginning is given. It is -1 if that doesn't have the whole head.
func answerSize(beginning []byte) (int, error) {
	end := bytes.Index(beginning, endOfHead)
	if end < 0 {
		return -1, nil
	}
	head := beginning[:end]
	status, rest, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(status, good) {
		return 0, fmt.Errorf("the answer is %q", status)
	}
	for line := range bytes.SplitSeq(rest, []byte("\r\n")) {
		if len(line) < len(lengthName) || !bytes.EqualFold(line[:len(lengthName)], lengthName) {
			continue
		}
		length, err := strconv.Atoi(string(bytes.TrimSpace(line[len(lengthName):])))
		if err != nil || length < 0 {
			return 0, fmt.Errorf("the answer has %q", line)
		}
		return end + len(endOfHead) + length, nil
	}
	return 0, errors.New("the answer has no Content-Length")
}
