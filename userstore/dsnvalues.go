package userstore

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// isAssignment matches a DSN that was copied with the name of a variable.
var isAssignment = regexp.MustCompile(`^(export )?[A-Z][A-Z0-9_]* ?= ?["']?[^=(]*[@(]`)

// withoutParentheses matches a host without tcp() around it.
var withoutParentheses = regexp.MustCompile(`@[A-Za-z0-9.-]+(:[0-9]+)?/`)

// splitDSN returns the parts before and after a DSN's database, as the driver
// reads it: the database is between the last slash and the next question mark.
func splitDSN(dsn string) (server, parameters string, hasParameters bool) {
	i := strings.LastIndexByte(dsn, '/')
	if i < 0 {
		return dsn, "", false
	}
	_, parameters, hasParameters = strings.Cut(dsn[i+1:], "?")
	return dsn[:i], parameters, hasParameters
}

// hasSlash reports whether there is another slash after the one that ends the
// address.
func hasSlash(dsn string) bool {
	server, _, _ := splitDSN(dsn)
	return strings.Contains(server, ")/")
}

// checkValues finds parameters without a value, or with an invalid one, for
// which the driver's errors quote too much.
func checkValues(dsn string) error {
	_, parameters, hasParameters := splitDSN(dsn)
	if !hasParameters {
		return nil
	}
	for parameter := range strings.SplitSeq(parameters, "&") {
		name, value, hasValue := strings.Cut(parameter, "=")
		switch {
		case name == "" && value == "":
			continue
		case !slices.Contains(driverParameters, name) && checkParameter(name) != nil:
			return checkParameter(name)
		case value == "" && (!hasValue || name == "tls"):
			return fmt.Errorf("the dsn has the parameter %q without a value, so that it has no effect: write it as in tls=true, or remove it", name)
		}
		if err := checkValue(name, value); err != nil {
			return err
		}
	}
	return nil
}

// checkValue checks the value of a parameter of the driver.
func checkValue(name, value string) error {
	const wrong = "the dsn has the parameter %q with a value that it can't have: "
	switch name {
	case "tls":
		if !slices.Contains([]string{"true", "false", "1", "0", "skip-verify", "preferred"}, strings.ToLower(value)) {
			return errors.New("the dsn has a tls parameter with a value that it can't have: " +
				"write tls=true, false, skip-verify or preferred; files are named by the options tls_ca, tls_cert and tls_key")
		}
	case "timeout", "readTimeout", "writeTimeout":
		if _, err := time.ParseDuration(value); err != nil {
			return fmt.Errorf(wrong+"write a number with a unit, as in %[1]s=5s, or remove it, as the option query_timeout limits all", name)
		}
	case "loc":
		if _, err := time.LoadLocation(strings.ReplaceAll(value, "%2F", "/")); err != nil || strings.Contains(value, "/") {
			return fmt.Errorf(wrong+"remove it; the options use_tz and time_zone say how last_login is written", name)
		}
	case "maxAllowedPacket":
		if strings.Trim(value, "0123456789") != "" {
			return fmt.Errorf(wrong+"write a number of bytes, or remove it", name)
		}
	case "allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords", "allowOldPasswords", "checkConnLiveness",
		"clientFoundRows", "columnsWithAlias", "compress", "interpolateParams", "multiStatements", "parseTime", "rejectReadOnly":
		if !slices.Contains([]string{"true", "false", "1", "0", "TRUE", "FALSE", "True", "False"}, value) {
			return fmt.Errorf(wrong+"write true or false, or remove it", name)
		}
	}
	return nil
}

// errNoUser is the error for a DSN without a user.
var errNoUser = errors.New("the dsn has no user: write " + dsnForm)
