package identity

import (
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// groupsColumn is the name of the list of groups among the user's columns.
const groupsColumn = "groups"

// warnOfGroups logs that the header field lacks some groups of a user. A group's
// name with a comma would be read as two names, and one of them may be another
// group's.
func (id *Fields) warnOfGroups(user *userstore.User, logger *zap.Logger) {
	_, leftOut := user.GroupList()
	if leftOut == 0 {
		return
	}
	if !id.warnings.isDue(groupsColumn, user.PrimaryKey) {
		return
	}
	logger.Warn("groups left out of the list: a name with a comma, a control character, or a space at an end would be read as others",
		zap.Stringer("user", user.PrimaryKey), zap.Int("omitted", leftOut))
}
