// EventHub: the streams of events that clients of this process have open, and what is known of the
// executions they watch.
//
// Of an execution that runs it asks every runner (queue::Watch), and the one that has it answers
// with what it has printed so far and from then on; of one that has ended the store knows all. The
// store has the last word: it is asked when a runner says so, when an execution is cancelled, and
// from time to time, so that nothing that is lost on the way is lost for long.
//
// Thread-safe; nothing here blocks its caller. One thread of its own keeps the time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "api/event_position.h"
#include "api/execution_service.h"
#include "api/gate.h"
#include "api/http/reply.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/broker.h"
#include "store/execution_store.h"

namespace forkbox::api {

class EventHub {
 public:
  struct Options {
    std::chrono::milliseconds heartbeat{15'000};  // a comment after so long a silence
    std::chrono::milliseconds retry{1'000};       // when clients should come back
    std::chrono::milliseconds ask_again{2'000};   // while no runner says anything
    // How soon the store is asked for the first time, and how rarely in the end.
    std::chrono::milliseconds first_look{200};
    std::chrono::milliseconds longest_look{5'000};
    std::size_t max_streams = 1'000;
    std::size_t max_streams_per_owner = 100;  // but of the nameless owner, who is everybody
    std::size_t max_text_bytes = 128U << 20;  // of all executions that are watched
  };

  // All must outlive it.
  EventHub(Options options, ExecutionService& service, queue::Broker& broker, Log log);
  ~EventHub();  // Close()
  EventHub(const EventHub&) = delete;
  EventHub& operator=(const EventHub&) = delete;

  // Answers `reply` with the events of the execution after `from`, live or not, and with a refusal
  // when there are too many streams. Not with a lock held that on_refused takes.
  struct Refused {
    int status = 503;
    std::string message;
  };
  std::optional<Refused> Open(store::ExecutionRecord record, const EventPosition& from,
                              http::Reply reply);

  // Ends every stream, so that its client comes back elsewhere, and opens no more. Once it returns,
  // no callback reaches this object. Not from a callback.
  void Close();

  [[nodiscard]] std::size_t streams() const;
  [[nodiscard]] std::size_t watched() const;  // executions

 private:
  struct Client;
  struct Entry;
  using EntryPtr = std::shared_ptr<Entry>;  // shared with callbacks under way
  // Who has left an entry; their replies are ended without its lock.
  struct Leaving {
    std::vector<http::Reply> replies;
    std::vector<schema::OwnerId> owners;
  };

  void OnProgress(const EntryPtr& entry, queue::Progress progress);
  void Look(const EntryPtr& entry);
  void OnRecord(const EntryPtr& entry, Result<store::ExecutionRecord> record);
  void LookSoon(const schema::ExecutionId& id);
  void Ask(const Entry& entry, bool stop);
  void KeepTime(const std::stop_token& stop);
  void Tick(const EntryPtr& entry, bool* lags);
  void Forget(const EntryPtr& entry);  // if nobody watches it any more

  // With the lock of the entry held.
  void Pump(Entry& entry, Leaving* leaving);
  void SetEnded(Entry& entry, store::ExecutionRecord record);
  void Count(Entry& entry);

  void Settle(Leaving leaving);

  const Options options_;
  ExecutionService& service_;
  queue::Broker& broker_;
  const Log log_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();  // shared with callbacks

  mutable std::mutex mutex_;  // before that of an entry
  std::condition_variable_any wake_;
  std::unordered_map<schema::ExecutionId, EntryPtr> live_;
  std::list<EntryPtr> ended_;  // had ended when they were opened
  std::size_t streams_ = 0;
  std::unordered_map<schema::OwnerId, std::size_t> streams_of_;  // no zeros
  std::size_t text_bytes_ = 0;
  bool closed_ = false;
  bool hurry_ = false;  // the timekeeper has something to do

  std::shared_ptr<void> cancels_;
  std::jthread timekeeper_;  // last: it uses all of the above
};

}  // namespace forkbox::api
