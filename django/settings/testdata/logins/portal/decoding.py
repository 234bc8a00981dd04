from portal.stores import Decoding as SessionStore
