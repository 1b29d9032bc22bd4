// ExecdStream: the events of one run as execd streams them (reference 3): bare JSON objects with a
// blank line behind each, in a chunked answer that begins with the first of them.
#pragma once

#include <cstdint>
#include <string>

#include "api/http/reply.h"
#include "base/clock.h"
#include "runner/execd/event.h"

namespace forkbox::api {

// One line of JSON. Empty and zero members are left out; what is not UTF-8 is mended.
std::string ExecdEventJson(const execd::Event& event, std::int64_t unix_ms);

// One thread at a time. A reader that is slower than the program makes Put() wait, and so the
// program; one that takes nothing for a minute has gone.
class ExecdStream final : public execd::EventSink {
 public:
  // `clock` must outlive it.
  ExecdStream(http::Reply reply, const Clock& clock);

  bool Put(const execd::Event& event) override;
  // Ends the answer.
  void End();

  // Until then the request can be refused with a status of its own.
  [[nodiscard]] bool started() const { return started_; }

 private:
  http::Reply reply_;
  const Clock& clock_;
  bool started_ = false;
  bool gone_ = false;
};

// The fields of every stream but its type, for the proxies on its way.
http::Fields ExecdStreamFields();

// Writes in pieces, each when the reader has taken most of what came before. False: it has gone.
bool WriteAtItsPace(http::Reply& reply, std::string_view data);

}  // namespace forkbox::api
