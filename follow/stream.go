package follow

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// stream is the binlog as the server sends it.
type stream struct {
	source    userstore.FollowSource
	positions *positions
	link      *link
	id        uint32
	packets   *packets
	decoder   *decoder
	stop      func() bool // unties the connection from the context
}

// openStream connects, and asks for the log from its present end on.
func openStream(ctx context.Context, source userstore.FollowSource, positions *positions) (*stream, error) {
	made, err := connect(ctx, source)
	if err != nil {
		return nil, err
	}
	s := &stream{source: source, positions: positions, link: made, id: source.ServerID}
	s.stop = context.AfterFunc(ctx, func() { made.wire.Close() })
	if err := s.begin(ctx); err != nil {
		s.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return s, nil
}

func (s *stream) close() {
	s.stop()
	s.link.wire.Close()
}

func (s *stream) begin(ctx context.Context) error {
	server, err := s.sameServer(ctx)
	if err != nil {
		return err
	}
	if err := s.source.Identify(server.identity); err != nil {
		return err
	}
	if s.id == 0 {
		s.id = randomID(server.identity.ServerID)
	}
	// A log that is reset from now on isn't the one of the position.
	if s.positions.resets, err = s.positions.askResets(ctx); err != nil {
		return err
	}
	// The position comes before the definitions: what changes them after it is in the stream.
	end, err := server.askLogEnd(ctx, s.positions)
	if err != nil {
		return err
	}
	if end.isFiltered {
		return &userstore.Unfollowable{Err: errFiltered}
	}
	if end.at.Offset > 1<<32-1 {
		return errLargeLog
	}
	if _, err := server.mustLogReplicated(ctx, s.positions, s.source.IsReplica); err != nil {
		return err
	}
	if err := s.positions.visible.begin(ctx, s.positions, end.at); err != nil {
		return err
	}
	tables, err := readDefinitions(ctx, s.positions, server, s.source.Tables)
	if err != nil {
		return err
	}
	s.decoder = newDecoder(s.source, server, end, s.positions.visible, newDefinitions(tables))
	if err := s.prepare(ctx, server); err != nil {
		return err
	}
	return s.ask(end)
}

// sameServer asks the server of the stream who it is: a name may stand for several.
func (s *stream) sameServer(ctx context.Context) (*server, error) {
	server, err := askServer(ctx, s.link)
	if err != nil {
		return nil, err
	}
	if !server.identity.Is(s.positions.server.identity) {
		return nil, fmt.Errorf("two connections to %s have led to two servers: %s, and %s; name one server in the dsn of follow",
			s.source.Server.Addr, server.identity, s.positions.server.identity)
	}
	return server, nil
}

// randomID is a replica's ID that no other replica is likely to have: those of real
// ones are small numbers, or made of addresses. MariaDB ends the older one of two
// streams with one ID; with another random one for each stream, two gateways can't end
// each other's forever.
func randomID(taken uint32) uint32 {
	for {
		if id := 1<<31 | rand.Uint32(); id != taken && id != 1<<32-1 { //nolint:gosec // it is no secret
			return id
		}
	}
}

// prepare sets what the server has to know of a replica.
func (s *stream) prepare(ctx context.Context, server *server) error {
	period := strconv.FormatInt((s.source.Silence / 3).Nanoseconds(), 10)
	statements := []string{
		"SET @master_heartbeat_period = " + period + ", @source_heartbeat_period = " + period,
		"SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum",
	}
	if server.isMaria {
		// It knows all kinds of events, GTIDs as well.
		statements = append(statements, "SET @mariadb_slave_capability = 4")
	} else {
		// MySQL ends the older one of two streams with one UUID, whatever their IDs are.
		uuid := fmt.Sprintf("%08x-0000-4000-8000-%08x%04x", rand.Uint32(), rand.Uint32(), rand.Uint32()&0xffff) //nolint:gosec // it is no secret
		statements = append(statements, "SET @slave_uuid = '"+uuid+"', @replica_uuid = '"+uuid+"'")
	}
	for _, statement := range statements {
		if _, err := s.link.query(ctx, statement); err != nil {
			return fmt.Errorf("preparing the stream: %w", err)
		}
	}
	rows, err := s.link.query(ctx, "SELECT @master_binlog_checksum AS kind")
	if err != nil {
		return fmt.Errorf("asking for the kind of checksums: %w", err)
	}
	if len(rows) == 1 && rows[0]["kind"] == "CRC32" {
		s.decoder.checksum = binlog.ChecksumCRC32
	}
	return nil
}

// ask sends the command that asks for the log. The stream isn't registered as a
// replica: programs that look for replicas would take the gateway for one.
func (s *stream) ask(end logEnd) error {
	const comBinlogDump = 0x12
	command := []byte{0, 0, 0, 0, comBinlogDump}
	command = binary.LittleEndian.AppendUint32(command, uint32(end.at.Offset))
	command = binary.LittleEndian.AppendUint16(command, 0) // flags
	command = binary.LittleEndian.AppendUint32(command, s.id)
	command = append(command, end.file...)
	s.link.answers.unbound()
	s.link.ResetSequence()
	if err := s.link.WritePacket(command); err != nil {
		return fmt.Errorf("asking for the binlog: %w", plain(err))
	}
	s.packets = newPackets(s.link.Conn.Conn.Conn, s.source.Silence)
	return nil
}

// read reports changes until the stream ends. The error is never nil.
func (s *stream) read(feed userstore.Feed) error {
	isBegun := false
	for {
		event, isCut, err := s.packets.next()
		if err != nil {
			return s.explain(err)
		}
		if !isBegun {
			isBegun = true
			s.positions.progress.reached(s.decoder.at)
			s.source.Logger.Debug("following the binlog", zap.Uint32("server_id", s.id))
			feed.Began(s.decoder.at, s.positions)
		}
		if err := s.decoder.decode(event, isCut, feed); err != nil {
			return err
		}
		s.positions.progress.reached(s.decoder.at)
	}
}

// explain adds to a server's error what to do about it.
func (s *stream) explain(err error) error {
	var answer *mysql.MySQLError
	if errors.As(err, &answer) && s.source.ServerID != 0 && isAnotherReplica(answer) {
		return &userstore.Unfollowable{Err: fmt.Errorf("another replica or gateway has the server_id %d: leave the option out, "+
			"or give each an ID of its own: %w", s.source.ServerID, err)}
	}
	return refusal(err)
}

// packets reads the packets of a stream.
type packets struct {
	reader   *bufio.Reader
	sequence byte
	buffer   []byte
}

func newPackets(conn net.Conn, silence time.Duration) *packets {
	return &packets{
		reader:   bufio.NewReaderSize(&untilSilence{conn, silence, time.Now()}, 64<<10),
		sequence: 1, // the command was the first
	}
}

// untilSilence reads from a connection. It fails once nothing has come for too long,
// even if something comes then: it may have been sent long before.
type untilSilence struct {
	net.Conn
	silence time.Duration
	last    time.Time
}

var errSilence = errors.New("the server has sent nothing for too long, not even a heartbeat")

// Read implements io.Reader.
func (u *untilSilence) Read(b []byte) (int, error) {
	if err := u.SetReadDeadline(u.last.Add(u.silence)); err != nil {
		return 0, err
	}
	n, err := u.Conn.Read(b)
	now := time.Now()
	var network net.Error
	if now.Sub(u.last) > u.silence || errors.As(err, &network) && network.Timeout() {
		return 0, errSilence
	}
	u.last = now
	return n, err
}

// next returns an event, which is valid until the next call. Of an event that is
// larger than binlog.MaxSize, only the beginning is returned.
func (p *packets) next() (event []byte, isCut bool, err error) {
	const kept = 1 << 20 // of the buffer, after a large event
	if cap(p.buffer) > kept {
		p.buffer = nil
	}
	p.buffer = p.buffer[:0]
	for {
		var head [4]byte
		if _, err := io.ReadFull(p.reader, head[:]); err != nil {
			return nil, false, plain(err)
		}
		if head[3] != p.sequence {
			return nil, false, errors.New("a packet is missing")
		}
		p.sequence++
		length := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
		keep := min(length, binlog.MaxSize-len(p.buffer))
		if err := p.fill(keep); err != nil {
			return nil, false, err
		}
		if keep < length {
			isCut = true
			if _, err := io.CopyN(io.Discard, p.reader, int64(length-keep)); err != nil {
				return nil, false, plain(err)
			}
		}
		const longest = 1<<24 - 1 // a packet that another one continues
		if length < longest {
			event, err = content(p.buffer)
			return event, isCut, err
		}
	}
}

// fill reads more into the buffer, which grows only with what has come.
func (p *packets) fill(more int) error {
	for more > 0 {
		const step = 1 << 20
		n, begin := min(more, step), len(p.buffer)
		p.buffer = append(p.buffer, make([]byte, n)...)
		if _, err := io.ReadFull(p.reader, p.buffer[begin:]); err != nil {
			return plain(err)
		}
		more -= n
	}
	return nil
}

// content returns the event in a packet.
func content(packet []byte) ([]byte, error) {
	switch {
	case len(packet) == 0:
		return nil, errors.New("the server has sent an empty packet")
	case packet[0] == 0:
		return packet[1:], nil
	case packet[0] == 0xfe && len(packet) < 9:
		return nil, errors.New("the server has ended the stream")
	case packet[0] == 0xff && len(packet) >= 9:
		// 0xff, the number, # and five characters for the SQL state.
		return nil, &mysql.MySQLError{Number: binary.LittleEndian.Uint16(packet[1:]), Message: string(packet[9:])}
	default:
		return nil, errors.New("the server has sent what is no event")
	}
}
