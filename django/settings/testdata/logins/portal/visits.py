from portal.stores import Visits as SessionStore
