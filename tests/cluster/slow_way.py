"""A way to a port of this machine on which everything takes its time, as on one around the globe."""

import asyncio
import threading


class SlowWay(threading.Thread):
    """Listens on .port until stop(); each byte arrives at the other end that many seconds later."""

    def __init__(self, to_port, seconds):
        super().__init__(daemon=True)
        self._to_port, self._seconds, self._loop = to_port, seconds, asyncio.new_event_loop()
        server = asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._server = self._loop.run_until_complete(server)
        self.port = self._server.sockets[0].getsockname()[1]
        self.start()

    def run(self):
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def stop(self):
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join()

    async def _connected(self, reader, writer):
        there = await asyncio.open_connection("127.0.0.1", self._to_port)
        await asyncio.gather(self._carry(reader, there[1]), self._carry(there[0], writer))

    async def _carry(self, reader, writer):
        """Puts off each piece on its own, so that many may be on their way."""
        try:
            while piece := await reader.read(65536):
                self._loop.call_later(self._seconds, writer.write, piece)
        except ConnectionError:
            pass
        self._loop.call_later(self._seconds, writer.close)
