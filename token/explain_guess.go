package token

import (
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// guess adds likely and possible causes for a v2 token whose signature was not
// found.
func (s *searchV2) guess(a *analysis, whole bool) {
	x := s.x
	if x.isV1CutShort(a, s.text) {
		return
	}
	here := s.reading(0, 0)
	fits := whole && here != nil && here.size == x.t.settings.SignatureSize
	isSensible := fits && isPlausible(here.pk) && isPlausibleTime(here.reading, x.want.Now)
	switch {
	case isCaseChanged(s.text):
		// Neither the key nor the time is the original one.
		a.add(Finding{
			Cause: CauseCase, Certainty: Likely,
			Text: "all its letters are of one case: a program has changed them, and their case matters; the key and the time that are read in it now are not those of the token",
		})
	case isSensible:
		a.fits = here.row != nil
		s.guessReading(a, here)
	default:
		s.guessOther(a, here, fits, whole)
	}
}

// guessReading handles a token that has all parts by the settings here.
func (s *searchV2) guessReading(a *analysis, r *reading2) {
	a.take(r.reading)
	s.x.addFacts(a, r.reading, r.row)
	s.x.addUser(a, r.reading, r.row)
	if r.row != nil {
		s.x.addSecretKeyPossible(a)
	}
}

// guessOther handles a text that doesn't have all parts of a token by the
// settings here.
func (s *searchV2) guessOther(a *analysis, here *reading2, fits, whole bool) {
	var others []*reading2
	if whole {
		others = s.otherReadings()
	}
	if len(others) > 0 {
		s.addOthers(a, others, Likely)
	}
	if len(others) == 1 {
		r := others[0]
		a.fits = r.row != nil
		s.x.addFacts(a, r.reading, r.row)
		if r.row != nil {
			s.x.addUser(a, r.reading, r.row)
			s.x.addSecretKeyPossible(a)
		} else if r.pk.Kind() == s.x.t.settings.Encoding.Kind() {
			a.add(unknownUser(r.pk, Likely))
		}
	}
	switch {
	case len(others) == 0 && fits:
		if here.row == nil {
			a.add(unknownUser(here.pk, Certain))
		}
		a.add(Finding{
			Cause: CauseNotAToken, Certainty: Likely,
			Text: "it is as long as a token, and neither the primary key nor the time in it makes sense: its first characters were changed, or it is no token of this site",
		})
	case !fits:
		s.guessSize(a, here, len(others) > 0)
	}
}

// otherReadings returns plausible readings with other settings that leave a
// signature of the size here, or of the default size. They differ from the
// settings here in as few as possible.
func (s *searchV2) otherReadings() []*reading2 {
	const defaultSize = 10
	here := s.x.t.settings.SignatureSize
	var best []*reading2
	fewest := 1 << 10
	for packer := range s.packers {
		for dated := range 2 {
			r := s.reading(packer, dated)
			if r == nil || r.size != here && r.size != defaultSize || !isPlausible(r.pk) || !isPlausibleTime(r.reading, s.x.want.Now) {
				continue
			}
			changes := 0
			if r.pack != s.packers[0].pack {
				changes++
			}
			if dated > 0 {
				changes++
			}
			if r.size != here {
				changes++
			}
			if changes == 0 {
				continue
			}
			if r.row == nil {
				if main := s.reading(0, 0); main != nil && r.mark == main.mark && r.dated == main.dated {
					continue // the same bytes, read as another number
				}
				changes += maxChanges // an existing user is better evidence
				if isLarge(r.pk) {
					changes++
				}
			}
			same := func(other *reading2) bool {
				return other.mark == r.mark && other.dated == r.dated && (other.row == r.row || other.pack == r.pack)
			}
			if changes < fewest {
				best, fewest = nil, changes
			}
			if changes == fewest && !slices.ContainsFunc(best, same) {
				best = append(best, r)
			}
		}
	}
	return best
}

// addOthers adds the settings of other readings as causes.
func (s *searchV2) addOthers(a *analysis, others []*reading2, certainty Certainty) {
	set := &s.x.t.settings
	if len(others) > 1 {
		certainty = Possible
	}
	for _, r := range others {
		if r.dated != (set.MaxAge != nil) {
			a.add(maxAgeChange(set.MaxAge != nil).finding(certainty))
		}
		if r.pack != set.Encoding {
			a.add(Finding{
				Cause: CausePacker, Certainty: certainty, Setting: "packer", Here: set.Encoding.Name(), There: r.pack.Name(),
				Text: fmt.Sprintf("it can be read by %s, and is read by %s here", r.pack.Name(), set.Encoding.Name()),
			})
			if set.PrimaryKeyField != "" && r.pack.Kind() != set.Encoding.Kind() {
				a.add(Finding{
					Cause: CausePrimaryKeyField, Certainty: Possible, Setting: "primary_key_field", Here: set.PrimaryKeyField,
					Text: "it may hold another field of the user: compare SESAME_PRIMARY_KEY_FIELD",
				})
			}
		}
		if r.size != set.SignatureSize {
			a.add(sizeChange(set.SignatureSize, r.size).finding(certainty))
		}
	}
	if len(others) == 1 {
		a.take(others[0].reading)
	}
}

// guessSize handles data of the wrong length.
func (s *searchV2) guessSize(a *analysis, here *reading2, isExplained bool) {
	size := s.x.t.settings.SignatureSize
	isShort := here == nil || here.size <= size
	isSensible := here != nil && isPlausible(here.pk) && isPlausibleTime(here.reading, s.x.want.Now)
	certainty := Likely
	if isExplained {
		certainty = Possible
	}
	switch {
	case isShort && (!isExplained || isSensible):
		a.add(Finding{
			Cause: CauseCutShort, Certainty: certainty,
			Text: "it is shorter than tokens are here: its end is missing",
		})
		if !isSensible {
			a.add(Finding{Cause: CauseNotAToken, Certainty: Possible, Text: "it is no token, but another text of letters and digits"})
		}
	case isExplained || isShort:
		// Other settings say why.
	case isSensible && here.row != nil:
		a.take(here.reading)
		a.add(Finding{
			Cause: CauseTrailing, Certainty: Possible,
			Text: "it is longer than tokens are here: other text follows it, or something else in it is wrong, too",
		})
		if here.size <= maxSignatureSize {
			a.add(sizeChange(size, here.size).finding(Possible))
		}
	default:
		a.add(Finding{
			Cause: CauseNotAToken, Certainty: Likely,
			Text: "it has the characters of a token, and neither its length nor what it holds is that of a token of this site",
		})
	}
}

// isPlausible reports whether a key is plausible: data that was read with the
// wrong packer rarely is. It also prevents that parts of a signature are shown
// as a key.
func isPlausible(pk PrimaryKey) bool {
	switch pk.Kind() {
	case KindInt:
		return pk.Int() > 0 && pk.Int() < 1<<48
	case KindUint:
		return pk.Uint() > 0 && pk.Uint() < 1<<48
	case KindUUID:
		// The version and the variant of RFC 9562.
		id := pk.UUID()
		version := id[6] >> 4
		return version >= 1 && version <= 8 && id[8]>>6 == 0b10
	case KindString:
		text := pk.Text()
		return text != "" && utf8.ValidString(text) && !containsUnprintable(text)
	case KindBytes:
		return pk.Text() != ""
	default:
		return false
	}
}

// isLarge reports whether a key exceeds the number of users of most sites: it may
// be two fields that were read as one.
func isLarge(pk PrimaryKey) bool {
	return (pk.Kind() == KindInt || pk.Kind() == KindUint) && pk.Uint() >= 1<<32
}

// isPositive reports whether a key is a positive number, as users have.
func isPositive(pk PrimaryKey) bool {
	return pk.Kind() == KindInt && pk.Int() > 0 || pk.Kind() == KindUint && pk.Uint() > 0
}

func containsUnprintable(s string) bool {
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return true
		}
	}
	return false
}

// isPlausibleTime reports whether a token can have been made at that time: not
// before its version existed, and not much after now.
func isPlausibleTime(r reading, now time.Time) bool {
	const inventionOfV2 = 1590969600 // June 2020
	if !r.dated {
		return true
	}
	return (r.version == V1 || r.created >= inventionOfV2) && r.created < now.Unix()+24*60*60
}

// addUser adds the findings about the user's row.
func (x *explainer) addUser(a *analysis, r reading, row *Row) {
	if row == nil {
		a.add(unknownUser(r.pk, Certain))
		return
	}
	var err error
	if r.version == V1 {
		set := x.t.settings
		set.Iterations = 1 // only its error is needed
		_, err = (&Tokens{settings: set, newDigest: x.t.newDigest}).revocationKeyV1(row.User)
	} else {
		_, err = x.t.appendRevocationKey(nil, row.User)
	}
	if err != nil {
		a.add(Finding{
			Cause: CauseIncompleteUser, Certainty: Certain,
			Text: "a column that is signed is NULL in the user's row: " + firstWord(err.Error()),
		})
		return
	}
	x.addRevoked(a, r, row)
}

// firstWord returns the text before a colon.
func firstWord(s string) string {
	for i, c := range s {
		if c == ':' {
			return s[:i]
		}
	}
	return s
}

func unknownUser(pk PrimaryKey, certainty Certainty) Finding {
	f := Finding{
		Cause: CauseUnknownUser, Certainty: certainty,
		Text: fmt.Sprintf("no user has the primary key %s: deleted, or this is another database or table", quotedKey(pk)),
	}
	if !isPlausible(pk) {
		f.Text = "no user has the primary key that it holds, which doesn't look like one: another packer wrote it, or it is no token"
	}
	return f
}

// addRevoked adds possible changes of the user's row since the token was made.
func (x *explainer) addRevoked(a *analysis, r reading, row *Row) {
	if row == nil {
		return
	}
	set := &x.t.settings
	user := row.User
	if set.OneTime && user.LastLogin != nil {
		login := user.LastLogin.Unix()
		f := used("and the user has logged in since, by it or otherwise", row).finding(Possible)
		switch {
		case r.dated && *set.UseTZ && login+60 < r.created:
			f.Cause = "" // the last login was before
		case r.dated && *set.UseTZ && login >= r.created:
			f.Certainty = Likely
		default:
			f.Text = "perhaps " + f.Text
		}
		if f.Cause != "" {
			a.add(f)
		}
	}
	if *set.InvalidateOnPasswordChange && user.Password != nil && *user.Password != "" {
		a.add(Finding{
			Cause: CausePassword, Certainty: Possible,
			Text: "the user's password was changed after it was made, or Django has stored a new hash of the same password",
		})
	}
	if set.InvalidateOnEmailChange {
		a.add(Finding{Cause: CauseEmail, Certainty: Possible, Text: "the user's e-mail address was changed after it was made"})
	}
}

// addSecretKeyPossible adds causes that can't be distinguished without the
// other side's secrets.
func (x *explainer) addSecretKeyPossible(a *analysis) {
	if a.has(CauseUnknownUser) || a.has(CauseIncompleteUser) {
		return
	}
	add := func(cause Cause, setting, text string) {
		if !a.has(cause) {
			a.add(Finding{Cause: cause, Certainty: Possible, Setting: setting, Text: text})
		}
	}
	add(CauseSecretKey, "secret_key", "made with another SECRET_KEY, which is neither secret_key nor one of secret_key_fallbacks")
	if a.version == V1 {
		add(CauseSalt, "salt", "made with another SESAME_SALT")
		add(CauseAltered, "", "altered, or forged")
		return
	}
	add(CauseKey, "key", "made with another SESAME_KEY")
	add(CauseScope, "scope", "made for a scope that wasn't tried")
	add(CauseAltered, "", "altered, or forged")
}

// addFacts adds findings about the row and the clock.
func (x *explainer) addFacts(a *analysis, r reading, row *Row) {
	if maxAge := x.maxAge(); maxAge != nil && r.dated && x.isExpired(r) {
		a.findings = append(a.findings, x.expired(r))
	}
	if row != nil && !row.Active {
		a.findings = append(a.findings, Finding{
			Cause: CauseInactiveUser, Certainty: Certain, Text: "the user's row says that they may not log in (is_active)",
		})
	}
}
