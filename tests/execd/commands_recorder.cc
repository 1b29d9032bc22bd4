#include "tests/execd/commands_recorder.h"

#include <algorithm>

namespace forkbox::execd::testing {

bool Recorder::Put(const Event& event) {
  if (before && !before(event)) return false;
  const std::lock_guard lock(mutex_);
  events_.push_back(event);
  changed_.notify_all();
  return true;
}

std::vector<std::string> Recorder::Story() const {
  std::vector<std::string> story;
  for (const Event& event : events()) {
    switch (event.type) {
      case Event::Type::kInit:
        story.emplace_back("init");
        break;
      case Event::Type::kStdout:
        story.push_back("out " + event.text);
        break;
      case Event::Type::kStderr:
        story.push_back("err " + event.text);
        break;
      case Event::Type::kExecutionComplete:
        story.emplace_back("complete");
        break;
      case Event::Type::kError: {
        std::string line = "error " + event.ename + " " + event.evalue;
        for (const std::string& trace : event.traceback) line += " [" + trace + "]";
        story.push_back(line);
        break;
      }
      case Event::Type::kPing:
        break;
      default:
        story.emplace_back("other");
    }
  }
  return story;
}

std::vector<Event> Recorder::events() const {
  const std::lock_guard lock(mutex_);
  return events_;
}

std::string Recorder::id() const {
  const std::lock_guard lock(mutex_);
  return events_.empty() ? "" : events_.front().text;
}

bool Recorder::WaitFor(Event::Type type, const std::string& text) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::minutes(1), [&] {
    return std::ranges::any_of(
        events_, [&](const Event& event) { return event.type == type && event.text == text; });
  });
}

std::string Recorder::WaitForId() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::minutes(1), [&] { return !events_.empty(); });
  return events_.empty() ? "" : events_.front().text;
}

std::size_t Recorder::Count(Event::Type type) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(events_, [&](const Event& event) { return event.type == type; }));
}

std::string Recorder::Text(Event::Type type) const {
  std::string text;
  for (const Event& event : events()) {
    if (event.type == type) text += event.text == "\n" ? event.text : event.text + "\n";
  }
  return text;
}

}  // namespace forkbox::execd::testing
