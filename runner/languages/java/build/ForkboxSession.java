import java.io.DataInputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import jdk.jshell.Diag;
import jdk.jshell.EvalException;
import jdk.jshell.JShell;
import jdk.jshell.JShellException;
import jdk.jshell.Snippet;
import jdk.jshell.SnippetEvent;
import jdk.jshell.SourceCodeAnalysis;
import jdk.jshell.SourceCodeAnalysis.CompletionInfo;
import jdk.jshell.UnresolvedReferenceException;
import jdk.jshell.VarSnippet;
import sun.misc.Signal;
import sun.misc.Unsafe;

/**
 * An interactive session of Java: cells over the channel, descriptor 3, one after the other, into
 * one JShell (runner/execd/session_wire.h is the contract). The code of cells runs in this process,
 * so its output is that of the process and its state lives as long as it.
 *
 * <p>A cell is as many snippets as it has; the value of the last one, if it is an expression, is
 * its result. The first that does not compile or throws ends it.
 */
public final class ForkboxSession {
  private static final int CHANNEL = 3;
  private static final int MAX_FRAME = 16 << 20;
  private static final int MAX_TEXT = 1 << 20;
  private static final int MAX_TRACEBACK = 100;
  private static final String[] IMPORTS = {
    "java.io.*", "java.math.*", "java.net.*", "java.nio.file.*", "java.util.*",
    "java.util.concurrent.*", "java.util.function.*", "java.util.regex.*", "java.util.stream.*",
  };

  /** Where a snippet is: its cell, and the lines of the cell before it. */
  private record Place(int cell, int linesBefore) {}

  private final OutputStream channel;
  private final JShell shell;
  private final SourceCodeAnalysis analysis;
  private final Map<String, Place> places = new HashMap<>(); // by the id of a snippet
  private final Object lock = new Object();
  private boolean running; // a cell; guarded by lock
  private boolean interrupted; // guarded by lock
  private int count;

  private ForkboxSession(OutputStream channel) {
    this.channel = channel;
    shell = JShell.builder().executionEngine("local").build();
    shell.addToClasspath(Path.of("").toAbsolutePath().toString());
    analysis = shell.sourceCodeAnalysis();
  }

  public static void main(String[] args) throws Exception {
    FileDescriptor descriptor = descriptor(CHANNEL);
    ForkboxSession session = new ForkboxSession(new FileOutputStream(descriptor));
    BlockingQueue<String> cells = new ArrayBlockingQueue<>(4);
    Thread reader =
        new Thread(() -> session.read(new DataInputStream(new FileInputStream(descriptor)), cells));
    reader.setDaemon(true);
    reader.start();
    Signal.handle(new Signal("INT"), signal -> session.interrupt());
    session.send("{\"ev\":\"ready\",\"pid\":" + ProcessHandle.current().pid() + ",\"forks\":false}");
    // The first cell may be on its way by then.
    for (String name : IMPORTS) session.shell.eval("import " + name + ";");
    for (; ; ) session.run(cells.take());
  }

  /** One that this process was started with; Java has no way to be given it. */
  private static FileDescriptor descriptor(int number) throws ReflectiveOperationException {
    Field own = Unsafe.class.getDeclaredField("theUnsafe");
    own.setAccessible(true);
    Unsafe unsafe = (Unsafe) own.get(null);
    FileDescriptor descriptor = new FileDescriptor();
    unsafe.putInt(
        descriptor, unsafe.objectFieldOffset(FileDescriptor.class.getDeclaredField("fd")), number);
    return descriptor;
  }

  // --- the channel ---------------------------------------------------------------------------

  private void read(DataInputStream in, BlockingQueue<String> cells) {
    try {
      for (; ; ) {
        int size = Integer.reverseBytes(in.readInt());
        if (size < 0 || size > MAX_FRAME) break;
        byte[] body = in.readNBytes(size);
        if (body.length < size) break;
        Map<String, String> message =
            new FlatJson(new String(body, StandardCharsets.UTF_8)).object();
        if ("run".equals(message.get("op"))) cells.put(message.getOrDefault("code", ""));
      }
    } catch (IOException | InterruptedException | RuntimeException end) {
      // As any other end.
    }
    Runtime.getRuntime().halt(0);
  }

  private void send(String message) {
    byte[] body = message.getBytes(StandardCharsets.UTF_8);
    byte[] frame = new byte[4 + body.length];
    for (int i = 0; i < 4; ++i) frame[i] = (byte) (body.length >> (8 * i));
    System.arraycopy(body, 0, frame, 4, body.length);
    try {
      channel.write(frame);
    } catch (IOException gone) {
      Runtime.getRuntime().halt(0);
    }
  }

  private void sendError(String name, String message, List<String> traceback) {
    StringBuilder lines = new StringBuilder();
    for (String line : traceback.subList(0, Math.min(traceback.size(), MAX_TRACEBACK))) {
      if (lines.length() > 0) lines.append(',');
      lines.append(quoted(line));
    }
    send(
        "{\"ev\":\"error\",\"ename\":" + quoted(name) + ",\"evalue\":" + quoted(message)
            + ",\"traceback\":[" + lines + "]}");
  }

  private static String quoted(String text) {
    if (text.length() > MAX_TEXT) text = text.substring(0, MAX_TEXT) + "\u2026";
    StringBuilder out = new StringBuilder(text.length() + 2).append('"');
    for (int i = 0; i < text.length(); ++i) {
      char c = text.charAt(i);
      boolean paired =
          Character.isHighSurrogate(c)
              ? i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))
              : Character.isLowSurrogate(c)
                  && i > 0 && Character.isHighSurrogate(text.charAt(i - 1));
      if (Character.isSurrogate(c) && !paired) {
        out.append('\ufffd');
      } else if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return out.append('"').toString();
  }

  // --- a cell --------------------------------------------------------------------------------

  private void run(String code) {
    ++count;
    synchronized (lock) {
      running = true;
      interrupted = false;
    }
    try {
      evaluate(code);
    } catch (RuntimeException | Error ours) {
      sendError(ours.getClass().getSimpleName(), String.valueOf(ours.getMessage()), List.of());
    }
    synchronized (lock) {
      running = false;
      lock.notifyAll();
    }
    System.out.flush();
    System.err.flush();
    send("{\"ev\":\"done\",\"count\":" + count + "}");
  }

  private void evaluate(String code) {
    String value = null;
    for (String rest = withoutBlanks(code); !rest.isEmpty(); ) {
      int linesBefore = lines(code.substring(0, code.length() - rest.length()));
      CompletionInfo info = analysis.analyzeCompletion(rest);
      boolean whole = info.completeness().isComplete() && !info.source().isEmpty();
      String source = whole ? info.source() : rest;
      value = null;
      for (SnippetEvent event : shell.eval(source)) {
        if (event.causeSnippet() != null) continue; // an earlier one, compiled anew
        Snippet snippet = event.snippet();
        places.put(snippet.id(), new Place(count, linesBefore));
        if (wasInterrupted()) {
          sendError("KeyboardInterrupt", "interrupted", List.of("KeyboardInterrupt: interrupted"));
          return;
        }
        if (event.exception() != null) {
          sendException(event.exception());
          return;
        }
        if (event.status() == Snippet.Status.REJECTED) {
          sendDiagnostics(snippet, linesBefore);
          return;
        }
        if (isExpression(snippet)) value = event.value();
      }
      rest = whole ? withoutBlanks(info.remaining()) : "";
    }
    if (value != null && !value.isEmpty()) {
      send(
          "{\"ev\":\"result\",\"count\":" + count + ",\"data\":{\"text/plain\":" + quoted(value)
              + "}}");
    }
  }

  /** Less the blanks and comments it starts with: JShell counts the lines of a snippet without. */
  private static String withoutBlanks(String code) {
    int at = 0;
    while (at < code.length()) {
      if (Character.isWhitespace(code.charAt(at))) {
        ++at;
        continue;
      }
      boolean line = code.startsWith("//", at);
      if (!line && !code.startsWith("/*", at)) break;
      int end = code.indexOf(line ? "\n" : "*/", at + 2);
      if (end < 0) return line ? "" : code.substring(at);
      at = line ? end : end + 2;
    }
    return code.substring(at);
  }

  private static boolean isExpression(Snippet snippet) {
    return switch (snippet.kind()) {
      case EXPRESSION -> true;
      case VAR ->
          ((VarSnippet) snippet).subKind() == Snippet.SubKind.TEMP_VAR_EXPRESSION_SUBKIND;
      default -> false;
    };
  }

  private static int lines(String text) {
    return (int) text.chars().filter(c -> c == '\n').count();
  }

  private void sendDiagnostics(Snippet snippet, int linesBefore) {
    String source = snippet.source();
    List<String> lines = new ArrayList<>();
    String first = null;
    String[] sourceLines = source.split("\n", -1);
    for (Diag diag : shell.diagnostics(snippet).filter(Diag::isError).toList()) {
      String[] message = diag.getMessage(Locale.ROOT).split("\\R");
      if (first == null) first = message[0];
      int at = (int) Math.max(0, Math.min(diag.getPosition(), source.length()));
      int line = lines(source.substring(0, at));
      lines.add("cell-" + count + ":" + (linesBefore + line + 1) + ": error: " + message[0]);
      if (line < sourceLines.length && sourceLines[line].length() < 500) {
        int column = at - (source.lastIndexOf('\n', Math.max(at - 1, -1)) + 1);
        lines.add(sourceLines[line]);
        lines.add(" ".repeat(Math.max(column, 0)) + "^");
      }
      for (int i = 1; i < message.length; ++i) lines.add(message[i]);
    }
    if (first == null) first = "it does not compile";
    sendError("CompilationException", first, lines);
  }

  private void sendException(JShellException exception) {
    List<String> lines = new ArrayList<>();
    if (exception instanceof UnresolvedReferenceException unresolved) {
      String needs =
          unresolved.getSnippet().source().strip().lines().findFirst().orElse("")
              + " cannot be used until what it refers to is declared: "
              + String.join(", ", shell.unresolvedDependencies(unresolved.getSnippet()).toList());
      lines.add(needs);
      addFrames(exception, lines);
      sendError("UnresolvedReferenceException", needs, lines);
      return;
    }
    for (Throwable next = exception; next != null; next = next.getCause()) {
      String name =
          next instanceof EvalException thrown
              ? thrown.getExceptionClassName()
              : next.getClass().getName();
      String message = next.getMessage();
      lines.add(
          (next == exception ? "" : "Caused by: ") + name + (message == null ? "" : ": " + message));
      addFrames(next, lines);
    }
    String message = exception.getMessage();
    sendError(
        exception.getClass().getSimpleName(),
        message == null && exception instanceof EvalException thrown
            ? thrown.getExceptionClassName()
            : String.valueOf(message),
        lines);
  }

  /** JShell calls the file of a frame "#" and the snippet's id. */
  private void addFrames(Throwable thrown, List<String> lines) {
    for (StackTraceElement frame : thrown.getStackTrace()) {
      String file = frame.getFileName();
      Place place = file != null && file.startsWith("#") ? places.get(file.substring(1)) : null;
      if (place == null && file != null && file.startsWith("#")) {
        place = new Place(count, 0); // of the snippet that is on its way
      }
      if (place == null) {
        lines.add("\tat " + frame);
        continue;
      }
      String where = "cell-" + place.cell + ":" + (place.linesBefore + frame.getLineNumber());
      String method =
          (frame.getClassName().isEmpty() ? "" : frame.getClassName() + ".")
              + frame.getMethodName();
      lines.add("\tat " + (method.isEmpty() ? where : method + "(" + where + ")"));
    }
  }

  // --- interrupts ----------------------------------------------------------------------------

  private boolean wasInterrupted() {
    synchronized (lock) {
      return interrupted;
    }
  }

  /**
   * Stops what runs in the cell. Again and again until the cell is over: a snippet may still be on
   * its way through the compiler.
   */
  private void interrupt() {
    synchronized (lock) {
      if (!running) return;
      interrupted = true;
      int cell = count;
      while (running && count == cell) {
        shell.stop();
        try {
          lock.wait(50);
        } catch (InterruptedException none) {
          return;
        }
      }
    }
  }

  /** An object of texts and of nothing else, as the other end writes them. */
  private static final class FlatJson {
    private final String text;
    private int at;

    FlatJson(String text) {
      this.text = text;
    }

    Map<String, String> object() {
      Map<String, String> members = new HashMap<>();
      expect('{');
      while (peek() != '}') {
        String name = string();
        expect(':');
        members.put(name, string());
        if (peek() == ',') ++at;
      }
      return members;
    }

    private char peek() {
      while (Character.isWhitespace(text.charAt(at))) ++at;
      return text.charAt(at);
    }

    private void expect(char c) {
      if (peek() != c) throw new IllegalArgumentException("not as agreed");
      ++at;
    }

    private String string() {
      expect('"');
      StringBuilder out = new StringBuilder();
      for (; ; ) {
        char c = text.charAt(at++);
        if (c == '"') return out.toString();
        if (c != '\\') {
          out.append(c);
          continue;
        }
        char escaped = text.charAt(at++);
        switch (escaped) {
          case 'n' -> out.append('\n');
          case 't' -> out.append('\t');
          case 'r' -> out.append('\r');
          case 'b' -> out.append('\b');
          case 'f' -> out.append('\f');
          case 'u' -> {
            out.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
            at += 4;
          }
          default -> out.append(escaped);
        }
      }
    }
  }
}
