"""What a video's faces are taken for, as it goes on:  python examples/recognise_video.py film.mp4"""

import sys

import mien

recognizer = mien.Recognizer().for_films()
with mien.VideoReader(sys.argv[1]) as video:
    for frame, faces in mien.follow(video, recognizer.recognize, every=3):
        for face in faces:
            said = f"face {face.track_id}  {face.expression} {face.probability:.0%}"
            print(f"{frame.time_s:7.2f} s  {said}")
