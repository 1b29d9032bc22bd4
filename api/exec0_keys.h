// Exec0Keys: the keys of an account, over HTTP.
//
//   GET    /api/v1/keys                 all of them, revoked ones too; never the key itself
//   POST   /api/v1/keys                 a new one, whose text is shown in this answer only
//   PATCH  /api/v1/keys/{id}            name, description, permissions, expiresAt, enabled
//   DELETE /api/v1/keys/{id}            revokes it for good
//   POST   /api/v1/keys/rotate          {"keyId"}: a successor, and the old one is revoked
//   POST   /api/v1/keys/revoke, enable, disable   {"keyId"}
//
// All of it needs full_access, and concerns the account of the key that asks: another account's
// keys are 404. A key may revoke itself. Every change is in the audit log, and acts in this process
// before it is answered.
//
// Handlers never block: the store is asked on threads of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "api/auth/admission.h"
#include "api/auth/key_ring.h"
#include "api/call_pool.h"
#include "api/exec0_error.h"
#include "api/http/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "schema/request_schema.h"
#include "store/store.h"

namespace forkbox::api {

class Exec0Keys {
 public:
  struct Options {
    std::size_t threads = 2;
    std::size_t max_waiting_calls = 1'000;
    std::size_t max_live_keys = 1'000;  // of an account, not revoked
    std::size_t max_keys = 10'000;      // of an account, revoked ones included
  };
  // All must outlive it, and it the server it is registered with.
  struct Parts {
    store::Store& store;
    KeyRing& ring;
    Admission& admission;
    const Clock& clock;
    Log log;
  };

  // kInternal when the program was built without its request schemas.
  static Result<std::unique_ptr<Exec0Keys>> Create(Options options, Parts parts);

  void RegisterOn(http::Server& server);

  // Drops what waits; to be called before the store goes away.
  void Close() { calls_.Close(); }

 private:
  struct Schemas {
    schema::RequestSchema create;
    schema::RequestSchema change;
    schema::RequestSchema rotate;
    schema::RequestSchema id;
  };
  // Who asks, from where.
  struct Asker {
    schema::OwnerId owner;
    schema::KeyId key_id;
    std::string client_address;
    std::string request_id;
  };
  using Handler = void (Exec0Keys::*)(http::Call& call, const Asker& asker);

  Exec0Keys(Options options, Parts parts, Schemas schemas);

  void Route(http::Server& server, http::Method method, const char* path, Handler handler);

  void List(http::Call& call, const Asker& asker);
  void Make(http::Call& call, const Asker& asker);
  void Patch(http::Call& call, const Asker& asker);
  void Delete(http::Call& call, const Asker& asker);
  void Rotate(http::Call& call, const Asker& asker);
  void Revoke(http::Call& call, const Asker& asker);
  void Enable(http::Call& call, const Asker& asker);
  void Disable(http::Call& call, const Asker& asker);

  // On a thread of ours:
  void Change(http::Reply& reply, const Asker& asker, const schema::KeyId& id,
              const store::KeyChange& change, bool show);
  // `again`: what to answer when it was revoked before.
  void Revoke(http::Reply& reply, const Asker& asker, const schema::KeyId& id, ErrorCode again);
  void SetEnabled(http::Call& call, const Asker& asker, bool enabled);
  void Note(const Asker& asker, const char* action, const schema::KeyId& target);

  // `work` on a thread of ours, with the reply to answer.
  void Later(http::Call& call, std::function<void(http::Reply&)> work);

  const Options options_;
  const Parts parts_;
  const Schemas schemas_;
  CallPool calls_;
};

}  // namespace forkbox::api
