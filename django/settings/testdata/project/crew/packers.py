from sesame.packers import BasePacker


class ObjectIdPacker(BasePacker):
    @staticmethod
    def pack_pk(user_pk):
        return bytes.fromhex(user_pk)

    @staticmethod
    def unpack_pk(data):
        return data[:12].hex(), data[12:]
