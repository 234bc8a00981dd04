package password

import (
	"errors"
	"fmt"
	"slices"
)

// Settings say which hashers are in use, and how.
type Settings struct {
	// Hashers are Django's PASSWORD_HASHERS, by their names. The first is the
	// preferred one. Default: DefaultHashers.
	Hashers []Algorithm
	// Version is Django's, "5.2" for example. The default parameters depend on
	// it. Default: the newest that is known.
	Version string
	// Parameters are the parameters of new hashes. Zero values mean Django's
	// defaults.
	Parameters Parameters
	// Limits bound the parameters of hashes in the database. Zero values mean the
	// defaults.
	Limits Limits
}

// Parameters are the attributes of Django's hashers.
type Parameters struct {
	PBKDF2Iterations  int    // iterations
	Argon2Time        uint32 // time_cost: passes
	Argon2Memory      uint32 // memory_cost, in KiB
	Argon2Parallelism uint8  // parallelism: lanes
	// Argon2HashSize is DEFAULT_HASH_LENGTH of the library argon2-cffi, in bytes.
	// Default: 32, as since version 21.2; earlier versions have 16.
	Argon2HashSize    uint32
	BcryptCost        int // rounds, as a power of 2
	ScryptWorkFactor  int // work_factor, called N elsewhere
	ScryptBlockSize   int // block_size, r
	ScryptParallelism int // parallelism, p
}

// Limits are how much a hash in the database may ask for.
type Limits struct {
	PBKDF2Iterations uint64 // default: 10,000,000
	Argon2Memory     uint64 // in KiB; default: 262,144, that is 256 MiB
	Argon2Time       uint64 // default: 16
	BcryptCost       uint64 // default: 15
	// ScryptMemory is in bytes. Default: 32 MiB, OpenSSL's limit for Django: above
	// it, Django fails.
	ScryptMemory      uint64
	ScryptParallelism uint64 // default: 16
}

// versions has the differences between the defaults of Django's versions.
var versions = []struct {
	version           string
	pbkdf2Iterations  int
	scryptParallelism int
}{
	{"4.2", 600_000, 1},
	{"5.0", 720_000, 1},
	{"5.1", 870_000, 5},
	{"5.2", 1_000_000, 5},
	{"6.0", 1_200_000, 5},
	{"6.1", 1_500_000, 5},
	{"6.2", 1_800_000, 5},
}

func (s Settings) withDefaults() (Settings, error) {
	if len(s.Hashers) == 0 {
		s.Hashers = DefaultHashers()
	}
	s.Hashers = slices.Clone(s.Hashers)
	for _, algorithm := range s.Hashers {
		if parserOf(algorithm) == nil {
			return s, fmt.Errorf("Hashers: %q is unknown: a hasher is named as its hashes start, pbkdf2_sha256 for example", algorithm)
		}
	}
	of := versions[len(versions)-1]
	for _, v := range versions {
		if v.version == s.Version {
			of = v
		}
	}
	if s.Version != "" && of.version != s.Version {
		return s, fmt.Errorf("the Version %q is unknown: give the Parameters and leave it out, or use a version from %s to %s", s.Version, versions[0].version, of.version)
	}
	s.Version = of.version
	s.Parameters = s.Parameters.withDefaults(of.pbkdf2Iterations, of.scryptParallelism)
	s.Limits = s.Limits.withDefaults()
	return s, s.Parameters.validate()
}

func setDefault[T int | uint8 | uint32 | uint64](value *T, to T) {
	if *value == 0 {
		*value = to
	}
}

func (p Parameters) withDefaults(pbkdf2Iterations, scryptParallelism int) Parameters {
	setDefault(&p.PBKDF2Iterations, pbkdf2Iterations)
	setDefault(&p.Argon2Time, 2)
	setDefault(&p.Argon2Memory, 102400)
	setDefault(&p.Argon2Parallelism, 8)
	setDefault(&p.Argon2HashSize, 32)
	setDefault(&p.BcryptCost, 12)
	setDefault(&p.ScryptWorkFactor, 1<<14)
	setDefault(&p.ScryptBlockSize, 8)
	setDefault(&p.ScryptParallelism, scryptParallelism)
	return p
}

func (p Parameters) validate() error {
	switch {
	case p.PBKDF2Iterations < 0:
		return errors.New("Parameters: PBKDF2Iterations can't be negative")
	case p.Argon2Memory < 8*uint32(p.Argon2Parallelism):
		return errors.New("Parameters: Argon2Memory must be 8 KiB for each lane at least")
	case p.Argon2HashSize < 4 || p.Argon2HashSize > maxHashSize:
		return fmt.Errorf("Parameters: Argon2HashSize must be from 4 to %d", maxHashSize)
	case p.BcryptCost < 4 || p.BcryptCost > 31:
		return errors.New("Parameters: BcryptCost must be from 4 to 31")
	}
	if _, err := scryptKey("", "salt", 2, p.ScryptBlockSize, p.ScryptParallelism); err != nil || p.ScryptWorkFactor < 2 || p.ScryptWorkFactor&(p.ScryptWorkFactor-1) != 0 {
		return errors.New("Parameters: scrypt's can't be right: the work factor is a power of 2, and all are positive")
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.PBKDF2Iterations, 10_000_000)
	setDefault(&l.Argon2Memory, 256<<10)
	setDefault(&l.Argon2Time, 16)
	setDefault(&l.BcryptCost, 15)
	setDefault(&l.ScryptMemory, 32<<20)
	setDefault(&l.ScryptParallelism, 16)
	return l
}

// limit returns a LimitError if a value exceeds its limit.
func limit(algorithm Algorithm, parameter string, value, limit uint64) error {
	if value <= limit {
		return nil
	}
	return &LimitError{Algorithm: algorithm, Parameter: parameter, Value: value, Limit: limit}
}
