// KeyGate: stands in front of the routes, so that by the time a handler asks Admission, which never
// waits, the key that was presented is as well known as it can be.
//
// Mostly it just calls the handler. With a key that this process has not heard of, the call is set
// aside until the store has answered; the handler then runs on a thread of the ring.
#pragma once

#include "api/auth/key_ring.h"
#include "api/http/server.h"

namespace forkbox::api {

// `handler` behind the gate. The ring must outlive it.
http::Handler BehindKeyGate(KeyRing& ring, http::Handler handler);

}  // namespace forkbox::api
